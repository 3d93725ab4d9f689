"""`ConsoleCallback` for Lightning: `Trainer(callbacks=[ConsoleCallback()])`."""

from __future__ import annotations

import re
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchconsole.engine.library.framework_checkpoints import ImmediateCheckpoints
from torchconsole.engine.library.framework_run import FrameworkRun, begin_run, is_wanted
from torchconsole.engine.protocol.events import RunStarted
from torchconsole.engine.run.names import LIGHTNING_FILE


def _is_older() -> bool:
    """Whether the program uses Lightning by its older name, or only that is installed."""
    if "pytorch_lightning" in sys.modules:
        return "lightning.pytorch" not in sys.modules
    return find_spec("lightning") is None and find_spec("pytorch_lightning") is not None


if TYPE_CHECKING or not _is_older():
    from lightning.pytorch import Callback, LightningModule, Trainer
else:  # its Trainer takes only its own callbacks
    from pytorch_lightning import Callback, LightningModule, Trainer

SUFFIX = re.compile("_(step|epoch)$")
"""Ends the names of a metric that is logged for steps and for epochs."""

RESUME = "trainer.fit(model, ckpt_path=PATH)"


class ConsoleCallback(Callback):
    """Show a training with `lightning.pytorch.Trainer` in the console, and steer it::

        trainer = Trainer(max_epochs=10, callbacks=[ConsoleCallback()])
        trainer.fit(model, train_loader, val_loader)

    Under `python train.py` the process becomes a run that `torchconsole attach` shows; under `torchconsole
    run train.py` the callback joins that run. Pause, learning rate, save and stop take effect after a batch
    whose optimizer has stepped:

    - lr: the scheduled lr of each group is scaled, or held, while the optimizer steps. Lightning, its
      schedulers and its `LearningRateMonitor` see their own lr.
    - save: `Trainer.save_checkpoint` writes into the run's folder, and the console says how to resume. The
      scale or hold of the lr is in each checkpoint of Lightning's, and a resume restores it.
    - stop: saves, then sets `trainer.should_stop`. Lightning validates and calls its hooks as always, and
      `min_epochs` and `min_steps` do not delay it.

    What the module logs is shown: in an evaluation for what validation logs (`val_loss` as `val/loss`). The
    loss of each step is measured, and called `train/loss`.

    With TORCHCONSOLE=off in the environment, the callback does nothing.

    Args:
        name: Name of the run under `python train.py`. Default: that of the program's file.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._run: FrameworkRun | None = None
        self._lr: dict[str, Any] | None = None
        self._seen: dict[str, Any] = {}
        self._evaluation_began = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the run, or join the one of this process."""
        if trainer.fast_dev_run or not is_wanted(trainer.world_size):
            return

        def write(path: Path) -> None:
            # All processes save together, and only the first one knows the run's folder.
            trainer.save_checkpoint(trainer.strategy.broadcast(path), weights_only=False)

        self._run = begin_run(self._name, ImmediateCheckpoints("Lightning", RESUME, LIGHTNING_FILE, write))
        if self._lr is not None:
            self._run.loop.learning_rate.load_state_dict(self._lr)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the training: its length is known now."""
        if self._run is not None:
            self._run.loop.begin_training(_length(trainer), {type(pl_module).__name__: pl_module})
            self._run.loop.enter_epoch(trainer.current_epoch)
            self._stop_if_asked(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch."""
        fresh = self._fresh_metrics(trainer)
        if self._run is not None:
            self._run.loop.add(fresh)
            self._run.loop.enter_epoch(trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step, apply commands, and wait while the run is paused."""
        if self._run is None:
            return
        loop = self._run.loop
        if loop.line_is_due:
            loop.add(self._fresh_metrics(trainer))
        loop.end_step(_steps_done(trainer))
        self._stop_if_asked(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the metrics of the epoch."""
        fresh = self._fresh_metrics(trainer)
        if self._run is not None:
            self._run.loop.add(fresh)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note when the validation begins."""
        self._fresh_metrics(trainer)
        self._evaluation_began = time.monotonic()
        if self._run is not None and not trainer.sanity_checking:
            self._run.loop.begin_phase("evaluating")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over what the validation has logged."""
        fresh = self._fresh_metrics(trainer)
        if self._run is not None and not trainer.sanity_checking:
            self._run.loop.evaluated(fresh, time.monotonic() - self._evaluation_began)
            self._run.loop.begin_phase("training")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the metrics of the last epoch."""
        fresh = self._fresh_metrics(trainer)
        if self._run is not None:
            self._run.loop.add(fresh)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run under plain `python`."""
        run, self._run = self._run, None
        if run is not None:
            run.end(None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the run under plain `python`, as failed."""
        run, self._run = self._run, None
        if run is not None:
            run.end(exception)

    def state_dict(self) -> dict[str, Any]:
        """Return the scale or hold of the lr, for Lightning's checkpoints."""
        return {} if self._run is None else {"learning_rate": self._run.loop.learning_rate.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._lr = state_dict.get("learning_rate")

    def _fresh_metrics(self, trainer: Trainer) -> dict[str, Any]:
        """Return what was logged since the last call."""
        current = dict(trainer.callback_metrics)
        fresh = {
            name: value
            for name, value in current.items()
            if self._seen.get(name) is not value and not _is_variant(name, current)
        }
        self._seen = current
        return fresh

    def _stop_if_asked(self, trainer: Trainer) -> None:
        if self._run is not None and self._run.loop.ended:
            trainer.fit_loop.min_epochs = 0
            trainer.fit_loop.epoch_loop.min_steps = None
            trainer.should_stop = True


def _length(trainer: Trainer) -> RunStarted:
    """Return what is done of the training, and how long it will be."""
    batches, most_epochs, most_steps = trainer.num_training_batches, trainer.max_epochs, trainer.max_steps
    steps = None
    if batches != float("inf"):
        accumulated = (
            trainer.accumulate_grad_batches if trainer.lightning_module.automatic_optimization else 1
        )
        steps = -(-int(batches) // accumulated)
    epochs = most_epochs if most_epochs is not None and most_epochs >= 0 else None
    return RunStarted(
        step=_steps_done(trainer),
        epoch=trainer.current_epoch,
        steps_per_epoch=steps,
        total_epochs=epochs,
        total_steps=most_steps if most_steps >= 0 else None,
    )


def _steps_done(trainer: Trainer) -> int:
    """Return the optimizer's steps; with optimization by hand the batches, because optimizers may be many."""
    if trainer.lightning_module.automatic_optimization:
        return trainer.global_step
    return trainer.fit_loop.total_batch_idx + 1


def _is_variant(name: str, metrics: dict[str, Any]) -> bool:
    """Whether this is `acc_step` or `acc_epoch` beside `acc`, which is the newest of the two."""
    return SUFFIX.search(name) is not None and SUFFIX.sub("", name) in metrics
