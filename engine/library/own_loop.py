"""What happens between two steps of a loop that uses `torchconsole.run`: lines, commands, saves, limits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from torchconsole.engine.config.schema import CheckpointConfig
from torchconsole.engine.distributed.program_job import ALONE, NoJob
from torchconsole.engine.errors import CommandRejectedError, RunError
from torchconsole.engine.library.found_objects import unwrapped
from torchconsole.engine.library.joint_checkpoints import FollowingCheckpoints, LeadingCheckpoints
from torchconsole.engine.library.kept_objects import KeptObjects
from torchconsole.engine.library.kept_state import KeptState
from torchconsole.engine.library.run_handle import Evaluate
from torchconsole.engine.library.watched_run import (
    LOSS,
    MOST_CHARACTERS,
    MOST_METRICS,
    RunCheckpoints,
    WatchedRun,
)
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.protocol.points import flag_nonfinite
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.text import counted, error_summary, printable
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_handler import answer_saves
from torchconsole.engine.training.command_queue import ByClock, CommandQueue
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.stopping import EarlyStopping

log = logging.getLogger(__name__)

NOT_KEPT = (
    "the program names no optimizer; add it to run.keep, as in `run.keep(model=model, optimizer=optimizer)`, "
    "and its lr can be changed"
)

NO_FUNCTION = (
    "the program does not say how it evaluates its model; add `run.on_evaluate(function)` to it, whose "
    "function returns metrics by name"
)


class OwnLoop(WatchedRun):
    """The run of a program that calls `torchconsole.run`: it says itself what a step and an epoch is."""

    def __init__(
        self,
        events: EventQueue,
        commands: CommandQueue,
        checkpoints: Path,
        on_first_step: Callable[[], object],
        early_stopping: EarlyStopping,
        total_steps: int | None,
        job: NoJob = ALONE,
    ) -> None:
        self.early_stopping = early_stopping
        self.on_evaluate: Evaluate | None = None
        self.total_epochs: int | None = None
        self.steps_per_epoch: int | None = None
        self.is_in_step = False
        """Whether the program is in a step, which the count does not have yet."""
        self._names: dict[str, str] = {}
        self._has_too_many = False
        self._total_steps = total_steps
        self._best_is_due = False
        self._stepped: set[Optimizer] = set()
        """The optimizers that have stepped in the current step."""
        self._hooks: list[RemovableHandle] = []
        self.is_evaluating = False
        """Whether the function of `on_evaluate` is being called."""
        self._is_finished = False
        self._is_told_to_end = False
        """Whether all processes of several end here, because the first one has seen no improvement."""
        self._has_asked = self._best_is_alone = False
        """Of several processes: whether they are about to save, and whether only the first one has."""
        self._loss = LossMeter()
        self._since = time.monotonic()
        self._epoch_since = self._since
        self._commands = commands
        super().__init__(events, commands, checkpoints, on_first_step, job)
        self.learning_rate.no_optimizer = NOT_KEPT
        self._meters = {LOSS: self._loss}

    def _open_checkpoints(self, folder: Path) -> RunCheckpoints:
        self.kept = KeptState(self.progress, self.early_stopping, self.learning_rate)
        events, config = self._events, CheckpointConfig()
        if not self._job.leads:
            self._manager: CheckpointManager = FollowingCheckpoints(config, self.kept, self._job)
            return self._manager
        self._writer = AsyncCheckpointWriter(
            folder, config.keep, events.emit, events.flush, answer_saves(events.emit)
        )
        self._writer.start()
        if self._job.size > 1:
            self._manager = LeadingCheckpoints(config, self.kept, self._writer, self._job)
        else:
            self._manager = CheckpointManager(config, self.kept, self._writer)
        return self._manager

    def _models(self) -> dict[str, nn.Module]:
        return self.kept.kept.models

    def _started(self) -> ev.RunStarted:
        per_epoch, epochs = self.steps_per_epoch, self.total_epochs
        progress, rate = self.progress, self.learning_rate
        return ev.RunStarted(
            step=progress.step,
            processes=self._job.size,
            epoch=self.kept.position.before + self.kept.position.epoch,
            steps_per_epoch=per_epoch,
            total_epochs=epochs,
            total_steps=self._total_steps or (per_epoch and epochs and per_epoch * epochs),
            lr_scale=rate.scale,
            lr_held=rate.held,
        )

    def keep(self, kept: KeptObjects) -> None:
        """Watch the optimizers among these objects; their state is part of the checkpoints from now on."""
        self.kept.kept = kept
        for optimizer in map(unwrapped, kept.optimizers.values()):
            self.learning_rate.add(optimizer)
            self._hooks += [
                optimizer.register_step_pre_hook(self._before_step),
                optimizer.register_step_post_hook(self._after_step),
            ]

    def _before_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        self.learning_rate.put_in_force(optimizer)

    def _after_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        self.learning_rate.restore(optimizer)
        self._stepped.add(optimizer)

    def set_epochs(self, total: int) -> None:
        """Note how many epochs the loops over epochs have so far."""
        is_new = total != self.total_epochs
        self.total_epochs = total
        if is_new and self.has_begun and self.steps_per_epoch and self._total_steps is None:
            self._report_length()

    def _report_length(self) -> None:
        assert self.steps_per_epoch
        self._events.emit(
            ev.LengthEstimated(steps_per_epoch=self.steps_per_epoch, total_epochs=self.total_epochs)
        )

    @property
    def limit(self) -> str | None:
        """Why the run is over by itself; None while it is not."""
        stopping, total = self.early_stopping, self._total_steps
        if total is not None and self.progress.step >= total:
            return f"all steps done: total_steps is {total:,}"
        if self._is_told_to_end or (stopping.exhausted and self._job.size == 1):
            config = stopping.config
            waited = counted(config.patience, "evaluation")
            return f"early stopping: {config.monitor} has not improved for {waited}"
        return None

    def add(self, metrics: Mapping[str, Any], call: str) -> None:
        """Add metrics of the current step. Raises RunError, naming the `call`, for what is no number."""
        if not self._job.leads:
            return
        for given, value in metrics.items():
            name = self._names.get(given) or self._new_name(given)
            if isinstance(value, Tensor):
                if value.numel() != 1 or value.is_complex():
                    raise _no_scalar(call, given, f"a tensor of shape {tuple(value.shape)}", "mean")
                # A copy: the program may change its tensor before it is read.
                copy = value.detach().clone()
                if name == LOSS:
                    if copy.ndim or copy.dtype != torch.float32:
                        copy = copy.reshape(()).float()
                    self._loss.add(copy, 1, self.progress.step + 1)
                    continue
                number: float | Tensor = copy
            else:
                number = _number(call, given, value)
            if name:
                self._logged[name] = number

    def _new_name(self, given: str) -> str:
        """Return the name as it is shown; empty for one too many, so that a run's memory does not grow."""
        if len(self._names) == MOST_METRICS:
            if not self._has_too_many:
                self._has_too_many = True
                log.warning("run.log: more than %s names; %r and others are left out", MOST_METRICS, given)
            return ""
        return self._names.setdefault(given, self._name(given, "train"))

    def _name(self, given: object, part: str) -> str:
        """Return a metric's name as it is shown."""
        name = printable(str(given))[:MOST_CHARACTERS].strip() or "unnamed"
        return name if "/" in name else f"{part}/{name}"

    def end_step(self) -> None:
        """End a step. Raises ProgramStopped after a stop."""
        self._close_step()
        self.boundary()
        self.save_if_due()

    def leave_step(self) -> None:
        """Count a step that the program has ended by leaving its loop."""
        self._close_step()
        self.progress.step += 1
        self._epoch_steps += 1

    def _close_step(self) -> None:
        kept = self.kept
        kept.accumulates = {
            name for name, each in kept.kept.optimizers.items() if unwrapped(each) not in self._stepped
        }
        self._stepped.clear()
        self.is_in_step = False
        self._since = time.monotonic()

    def end_epoch(self) -> None:
        """End an epoch: the program has done everything that belongs to it. Raises ProgramStopped."""
        now, steps = time.monotonic(), self._epoch_steps
        has_loss, epoch = not self._loss.is_empty, self.progress.epoch
        metrics, nonfinite = flag_nonfinite({LOSS: self._loss.end_epoch()} if has_loss else {})
        self._events.emit(
            ev.EpochCompleted(
                step=self.progress.step,
                epoch=epoch,
                metrics=metrics,
                nonfinite=nonfinite,
                seconds=now - self._epoch_since,
            )
        )
        if steps and steps != self.steps_per_epoch and self._total_steps is None:
            self.steps_per_epoch = steps
            self._report_length()
        self._epoch_steps, self._epoch_since = 0, now
        if not self._handler.is_quiet():
            self.apply_commands()
        self.save_if_due()

    def save_if_due(self) -> None:
        """Save a new best, or the periodic checkpoint."""
        if self._job.size > 1:
            self._ask_for_save()
        elif not self.save_best_if_due() and self._manager.due:
            self._manager.save("last")

    def _ask_for_save(self) -> None:
        """Have all processes save at the same step if that is due, or if the first one has saved alone."""
        if not self._job.leads:
            return
        if (self.save_best_if_due() or self._best_is_alone or self._manager.due) and not self._has_asked:
            self._has_asked, self._best_is_alone = True, False
            self._commands.put("save", ByClock(ends=False), "torchconsole")

    def save_best_if_due(self) -> bool:
        """Save the state if an evaluation was the best and is not saved yet; return whether it was so."""
        is_due, self._best_is_due = self._best_is_due, False
        if is_due:
            self._manager.save("best")
            self._best_is_alone = self._job.size > 1
        return is_due

    def save_at_end(self) -> None:
        """Save the state after the last step."""
        if not self.save_best_if_due() or self._job.size > 1:
            self._manager.save("last")

    def end(self, status: Literal["finished", "stopped"], reason: str) -> None:
        """End the program at this boundary, after a save."""
        self.save_best_if_due()
        super().end(status, reason)

    def evaluated(self, given: Mapping[str, Any]) -> list[str]:
        """Take in the metrics of the program's own evaluation; return their names.

        Raises RunError for what is no number.
        """
        values = self._numbers(given, "run.evaluated")
        if not self._job.leads:
            return list(values)
        step = self.progress.step + self.is_in_step
        self._report_evaluation(values, step, "schedule", time.monotonic() - self._since)
        earlier = self.kept.metrics if self.progress.evaluated == step else {}
        self.kept.metrics = earlier | flag_nonfinite(values)[0]
        self.progress.evaluated = step
        self.progress.revision += 1
        stopping = self.early_stopping
        if stopping.config.monitor in values:  # else it is of other data
            self._best_is_due = stopping.update(dict(values), step) or self._best_is_due
            if stopping.stops:
                self._events.emit(ev.EarlyStoppingUpdated(step=step, early_stopping=stopping.info()))
            if stopping.exhausted and self._job.size > 1:
                self._commands.put("early-stopping", ByClock(ends=True), "torchconsole")
        return list(values)

    def _obey_clock(self, command: ByClock) -> None:
        """End the loops of all processes at the same step, or save."""
        if command.ends:
            self._is_told_to_end = True
        else:
            self._has_asked = False
            self._manager.save("last")

    def evaluate(self, reason: Literal["schedule", "command"]) -> Metrics | None:
        """Evaluate by the program's own function. Raises CommandRejectedError if it is missing or fails."""
        if self.on_evaluate is None:
            raise CommandRejectedError(NO_FUNCTION)
        begin = time.monotonic()
        self.begin_phase("evaluating")
        self.is_evaluating = True
        try:
            with self.kept.undisturbed():
                values = self._numbers(self.on_evaluate(), "the function of run.on_evaluate")
        except Exception as error:
            log.exception("the function of run.on_evaluate has failed")
            raise CommandRejectedError(
                f"the function of run.on_evaluate failed: {error_summary(error)}"
            ) from error
        finally:
            self.is_evaluating = False
            self.begin_phase("training")
        self._report_evaluation(values, self.progress.step, "command", time.monotonic() - begin)
        return flag_nonfinite(values)[0]

    def _numbers(self, given: object, call: str) -> dict[str, float]:
        if not isinstance(given, Mapping) or not given:
            raise RunError(f'{call}: metrics are a dict with at least one name, such as {{"val/loss": 0.3}}')
        return {self._name(name, "val"): _number(call, name, value) for name, value in given.items()}

    def _report_evaluation(
        self, values: dict[str, float], step: int, reason: Literal["schedule", "command"], seconds: float
    ) -> None:
        metrics, nonfinite = flag_nonfinite(values)
        self._events.emit(
            ev.EvaluationCompleted(
                step=step,
                epoch=self.progress.epoch,
                metrics=metrics,
                nonfinite=nonfinite,
                seconds=seconds,
                reason=reason,
            )
        )

    def finish(self, reason: str) -> None:
        """Log the last line, save what no checkpoint has, and reject the commands that came too late."""
        if self._is_finished:
            return
        self._is_finished = True
        self._leave_job()
        if self.has_begun and self._last_line[1] < self.progress.step:
            with suppress(RuntimeError):  # of a device that has failed
                self._log_line(time.monotonic())
        self._handler.reject_rest(reason)
        self.problem = self._manager.flush()
        if self._job.leads:
            self._writer.close()
        for hook in self._hooks:
            hook.remove()


def _number(call: str, name: object, value: Any) -> float:
    """Return a metric as a number; waits for the device if it is there. Raises RunError."""
    if isinstance(value, Tensor) and value.numel() != 1:
        raise _no_scalar(call, name, f"a tensor of shape {tuple(value.shape)}", "mean")
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise _no_scalar(call, name, f"{_shown(value)} of type {type(value).__name__}") from error


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.60}"
    except ValueError:  # an integer with too many digits
        return "a number"


def _no_scalar(call: str, name: object, what: str, method: str = "") -> RunError:
    hint = f"; log its {method}, for example {name}.{method}()" if method else ""
    return RunError(f"{call}: {name} is {what}, not a single number{hint}")
