"""`ConsoleCallback` for Hugging Face: `transformers.Trainer(callbacks=[ConsoleCallback()])`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from torchconsole.engine.library.framework_checkpoints import DeferredCheckpoints
from torchconsole.engine.library.framework_run import FrameworkRun, begin_run, is_wanted
from torchconsole.engine.protocol.events import RunStarted

RESUME = "trainer.train(resume_from_checkpoint=PATH)"

IN_CHECKPOINT = "ConsoleCallback"
"""The key of what the callback keeps in the Trainer's checkpoints."""

NOT_SAVED = "the training ended before the Trainer has saved"

SPEEDS = ("runtime", "samples_per_second", "steps_per_second", "jit_compilation_time", "total_flos", "flos")
"""End the names of what the Trainer adds to each evaluation."""


class ConsoleCallback(TrainerCallback):
    """Show a training with `transformers.Trainer` in the console, and steer it::

        trainer = Trainer(model, arguments, train_dataset=..., callbacks=[ConsoleCallback()])
        trainer.train()

    Under `python train.py` the process becomes a run that `torchconsole attach` shows; under `torchconsole
    run train.py` the callback joins that run. Pause, learning rate, save and stop take effect after a step:

    - lr: the scheduled lr of each group is scaled, or held, while the optimizer steps. The Trainer and its
      scheduler see their own lr, and so does `learning_rate` in its logs. The Trainer's checkpoints keep the
      scale or hold, in `trainer_state.json`.
    - save: the Trainer saves `checkpoint-STEP` in its `output_dir`, and the console says how to resume.
      `save_total_limit` counts it like the others.
    - stop: saves, then sets `control.should_training_stop`. The Trainer calls `on_train_end` as always.

    Evaluations and what the Trainer logs are shown: `eval_loss` as `val/loss`. The loss of each step is
    measured, and called `train/loss`.

    With TORCHCONSOLE=off in the environment, the callback does nothing.

    Args:
        name: Name of the run under `python train.py`. Default: that of the program's file.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._run: FrameworkRun | None = None
        self._checkpoints = DeferredCheckpoints("", "")
        self._evaluates = False
        self._began = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin the run, or join the one of this process."""
        if not is_wanted(args.world_size):
            return
        self._checkpoints = DeferredCheckpoints("transformers", RESUME)
        self._run = begin_run(self._name, self._checkpoints)
        self._evaluates = False
        model = kwargs["model"]
        length = _length(args, state, kwargs["train_dataloader"])
        if found := state.stateful_callbacks.get(IN_CHECKPOINT):
            self._run.loop.learning_rate.load_state_dict(found["learning_rate"])
        self._run.loop.begin_training(length, {type(model).__name__: model})
        self._obey(control)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count the epoch."""
        if self._run is not None:
            self._run.loop.enter_epoch(int(state.epoch or 0))

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Continue a pause that was left to save."""
        self._go_on_pausing(state, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count the step, apply commands, and wait while the run is paused."""
        if self._run is not None:
            self._run.loop.end_step(state.global_step)
            self._keep_lr(state)
            self._obey(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Continue a pause that was left to save."""
        self._go_on_pausing(state, control)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the checkpoint, if it was asked for."""
        if self._run is not None:
            name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            self._checkpoints.saved(Path(args.output_dir).absolute() / name)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take over what the Trainer logs about the training; evaluations come by `on_evaluate`."""
        if self._run is not None:
            logs = kwargs.get("logs") or {}
            self._run.loop.add(
                {
                    name: value
                    for name, value in logs.items()
                    if not name.endswith(SPEEDS) and not name.startswith("eval_") and name != "train_loss"
                }
            )

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note when an evaluation begins."""
        if self._run is not None and not self._evaluates:
            self._evaluates, self._began = True, time.monotonic()
            self._run.loop.begin_phase("evaluating")

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take over the evaluation."""
        if self._run is None:
            return
        seconds = time.monotonic() - self._began if self._evaluates else 0.0
        metrics = kwargs.get("metrics") or {}
        kept = {
            name: value
            for name, value in metrics.items()
            if name.startswith("eval_") and not name.endswith(SPEEDS)
        }
        self._run.loop.evaluated(kept, seconds)
        self._go_on_training()

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note that a prediction within the training has ended."""
        self._go_on_training()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the run under plain `python`."""
        self._go_on_pausing(state, control)
        run, self._run = self._run, None
        if run is not None:
            self._checkpoints.refuse_rest(NOT_SAVED)
            run.end(None)

    def _go_on_training(self) -> None:
        if self._run is not None and self._evaluates:
            self._evaluates = False
            self._run.loop.begin_phase("training")

    def _go_on_pausing(self, state: TrainerState, control: TrainerControl) -> None:
        if self._run is not None:
            self._run.loop.go_on_pausing()
            self._keep_lr(state)
            self._obey(control)

    def _keep_lr(self, state: TrainerState) -> None:
        """Keep the scale or hold of the lr in the Trainer's state, which is a part of its checkpoints."""
        if self._run is not None:
            # "args" and "attributes" are for `restore_callback_states_from_checkpoint`.
            state.stateful_callbacks[IN_CHECKPOINT] = {
                "args": {"name": self._name},
                "attributes": {},
                "learning_rate": self._run.loop.learning_rate.state_dict(),
            }

    def _obey(self, control: TrainerControl) -> None:
        """Have the Trainer do what commands ask for."""
        if self._checkpoints.is_wanted:
            control.should_save = True
        if self._run is not None and self._run.loop.ended:
            control.should_training_stop = True


def _length(args: TrainingArguments, state: TrainerState, batches: Any) -> RunStarted:
    """Return what is done of the training, and how long it will be."""
    epochs = state.num_train_epochs or 0
    try:
        per_epoch = -(-len(batches) // args.gradient_accumulation_steps)
    except TypeError:  # an iterable dataset
        per_epoch = None
    return RunStarted(
        step=state.global_step,
        epoch=int(state.epoch or 0),
        steps_per_epoch=per_epoch,
        total_epochs=epochs if args.max_steps <= 0 else None,
        total_steps=state.max_steps,
    )
