"""The loop of a framework's Trainer as a run: its callback says where steps and epochs end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from torchconsole.engine.library.foreign_loggers import flattened
from torchconsole.engine.library.framework_checkpoints import FrameworkCheckpoints, SaveByFrameworkError
from torchconsole.engine.library.instruments import Instruments
from torchconsole.engine.library.own_host import Host
from torchconsole.engine.library.watched_run import (
    OFTEN_SECONDS,
    OFTEN_UNTIL,
    SELDOM_SECONDS,
    RunCheckpoints,
    WatchedRun,
)
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import flag_nonfinite

SPLITS = {"val": "val", "valid": "val", "validation": "val", "eval": "val", "train": "train", "test": "test"}
"""The first part of a metric's name, and what it is in the console."""

OWN = {"train/loss", "train/loss_step", "train/learning_rate", "train/lr", "train/epoch", "train/step"}
"""What the run measures itself, so that it is not shown twice."""


class FrameworkLoop(WatchedRun):
    """A run of which a callback says how long it is, and where its steps and epochs end.

    The framework counts from the beginning of its training, or from the checkpoint that it resumed from. A
    second training in the same run continues the run's own count.
    """

    limit = None

    def __init__(self, host: Host, checkpoints: FrameworkCheckpoints) -> None:
        self.step_is_open = False
        """Whether an optimizer has stepped since the last step has ended."""
        self._own = checkpoints
        self._plan = ev.RunStarted()
        self._trained: dict[str, nn.Module] = {}
        self._steps_before = 0
        self._epochs_before = 0
        self._is_handed_back = False
        super().__init__(host.events, host.commands, host.folder.checkpoints, host.begin_training, host.job)

    def _open_checkpoints(self, folder: Any) -> RunCheckpoints:
        self._own.open(folder, self.progress, self._events, writes=self._job.leads)
        return self._own

    def use(self, checkpoints: FrameworkCheckpoints) -> None:
        """Save the next training with these checkpoints."""
        checkpoints.open(self._own.folder, self.progress, self._events, writes=self._job.leads)
        self.checkpoints = self._own = checkpoints

    def begin_training(self, length: ev.RunStarted, models: dict[str, nn.Module]) -> None:
        """Begin a training: its steps and epochs that are done already, and how long it will be."""
        progress = self.progress
        if self.has_begun:
            self._steps_before = progress.step - length.step
            self._epochs_before = progress.epoch - length.epoch
            if length.steps_per_epoch:
                total = length.total_epochs and self._epochs_before + length.total_epochs
                self.emit(ev.LengthEstimated(steps_per_epoch=length.steps_per_epoch, total_epochs=total))
            return
        progress.step, progress.epoch = length.step, length.epoch
        rate = self.learning_rate
        changes = {"lr_scale": rate.scale, "lr_held": rate.held, "processes": self._job.size}
        self._plan = length.model_copy(update=changes)
        self._trained = models

    def _models(self) -> dict[str, nn.Module]:
        return self._trained

    def _started(self) -> ev.RunStarted:
        return self._plan

    def enter_epoch(self, done: int) -> None:
        """Begin the epoch after those that are `done`."""
        self.progress.epoch = self._epochs_before + done + 1

    @property
    def line_is_due(self) -> bool:
        """Whether the end of the current step is logged."""
        last, step = self._last_line
        seconds = OFTEN_SECONDS if self.progress.active_seconds < OFTEN_UNTIL else SELDOM_SECONDS
        return time.monotonic() - last >= seconds or step == 0

    def end_step(self, done: int) -> None:
        """Note that this many steps are done, if one was under way, and apply the waiting commands.

        Returns when a pause is over, or when the framework should save; then call `go_on_pausing`.
        """
        if not self.step_is_open:
            return
        self.step_is_open = False
        self.progress.step = self._steps_before + done
        if self.meter is not None:
            self.meter.end_step(time.monotonic())
        if self.line_is_due:
            self._log_line(time.monotonic())
        if not self._handler.is_quiet():
            self._apply_all()

    def go_on_pausing(self) -> None:
        """Continue a pause that was left for the framework to save."""
        if self._is_handed_back:
            self._is_handed_back = False
            self._apply_all()

    def _apply_all(self) -> None:
        if self.meter is not None:
            self.meter.leave_out()
        try:
            self._handler.apply_all()
        except SaveByFrameworkError:
            self._is_handed_back = True

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Add metrics of the training; the newest of each go into the next line."""
        named = {in_console(name, "train"): value for name, value in flattened(metrics).items()}
        self.add_metrics({name: value for name, value in named.items() if name not in OWN})

    def evaluated(self, metrics: Mapping[str, Any], seconds: float) -> None:
        """Report an evaluation that took this long. The host waits for the device here."""
        values: dict[str, float | None] = {
            in_console(name, "val"): number
            for name, value in flattened(metrics).items()
            if (number := as_number(value)) is not None
        }
        if not values:
            return
        finite, nonfinite = flag_nonfinite(values)
        self._own.metrics = finite
        self.progress.revision += 1
        self.emit(
            ev.EvaluationCompleted(
                step=self.progress.step,
                epoch=self.progress.epoch,
                metrics=finite,
                nonfinite=nonfinite,
                seconds=seconds,
            )
        )

    def finish(self, reason: str) -> None:
        """Log the last line, and reject the commands that came too late. A step that fails does not count."""
        self._leave_job()
        self._log_end(reason)


class FrameworkInstruments(Instruments):
    """Observes losses and the lr for one loop after the other; they say themselves where a step ends."""

    def watch(self, loop: FrameworkLoop, host: Host) -> None:
        """Observe a loop, whose optimizers have been made already."""
        Instruments.__init__(self, loop, host.commands)
        self._makes_optimizers = True

    def _is_first(self, optimizer: Optimizer) -> bool:
        """Whichever optimizer steps, a step is under way."""
        return True

    def _begin_step(self) -> None:
        loop = self._run
        assert isinstance(loop, FrameworkLoop)
        if not loop.has_begun:
            loop.begin()
        loop.step_is_open = True


def as_number(value: Any) -> float | None:
    """Return a logged value as a number, waiting for the device if it is there; None if it is no number."""
    if isinstance(value, bool | str | bytes):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def in_console(name: str, split: str) -> str:
    """Return a metric's name as the console groups it: `val/loss` for `val_loss`, `eval_loss` or `loss`.

    `split` is that of a name that begins with none.
    """
    for separator in ("/", "_"):
        head, found, rest = name.partition(separator)
        if found and rest and head in SPLITS:
            return f"{SPLITS[head]}/{rest}"
    return name if "/" in name else f"{split}/{name}"
