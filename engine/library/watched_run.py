"""A program's training as a run: its steps, epochs and metrics, and the commands between its steps."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.optim import Optimizer

from torchconsole.engine.components.devices import describe_device
from torchconsole.engine.distributed.program_job import ALONE, NoJob
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.library.found_objects import (
    device_of,
    find_epochs,
    find_models,
    layer_table,
    name_optimizers,
)
from torchconsole.engine.library.program_checkpoints import ProgramCheckpoints, UnwrittenCheckpoints
from torchconsole.engine.library.program_lr import ProgramLr
from torchconsole.engine.library.step_meter import StepMeter
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.run.line_formats import FACTS
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.rank_reports import LoadMeter, share_loads
from torchconsole.engine.text import printable
from torchconsole.engine.training.command_handler import CommandHandler, Outcome, Saves
from torchconsole.engine.training.command_queue import ByClock, CommandQueue
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.progress import Progress, TrainingClock

log = logging.getLogger(__name__)

OFTEN_SECONDS, SELDOM_SECONDS = 0.1, 0.5
"""Between two logged steps: in the first OFTEN_UNTIL seconds, and later."""

OFTEN_UNTIL = 10.0

LOSS = "train/loss"

COUNTERS = {"epoch", "step", "global_step", "_step", "_runtime", "_timestamp"}
"""What loggers add to every line, and a run has anyway."""

MOST_CHARACTERS = 100
"""Longest name of a metric."""

MOST_METRICS = 200
"""Most names of metrics that a program may log itself."""

MOST_CATCHES = 20
"""So often a program may catch what stops it, and make another step."""

CAUGHT = (
    "the program catches every exception (`except:` or `except BaseException:`) and goes on after a stop, so "
    "its process is ended at once"
)

NO_EVALUATION = (
    "only the program knows how it evaluates its model; this calls the function that it names with "
    "`run.on_evaluate(function)`, in `with torchconsole.run() as run:`"
)


class RunCheckpoints(Saves, Protocol):
    """What takes the checkpoints of a program's run."""

    def flush(self) -> object: ...
    def move_to(self, folder: Path, /) -> None: ...


class ProgramStopped(BaseException):
    """Ends the program after a stop, between two steps. No Exception: no handler takes it for an error."""


class WatchedRun:
    """The state of a program's training, and what happens between its steps.

    Satisfies `command_handler.Loop`. `on_first_step` is called once the training has begun.
    """

    def __init__(
        self,
        events: EventQueue,
        commands: CommandQueue,
        checkpoints: Path,
        on_first_step: Callable[[], object],
        job: NoJob = ALONE,
    ) -> None:
        self._job = job
        self.meter = StepMeter() if job.size > 1 else None
        """What measures the steps of a process of several."""
        self._events = events
        self.progress = Progress()
        """How far the training has come."""
        self.learning_rate = ProgramLr()
        self.checkpoints = self._open_checkpoints(checkpoints)
        self._stop_reason = ""
        self.problem = ""
        """Why the last checkpoint could not be written, if that is known at the end."""
        self._catches = 0
        self._handler = CommandHandler(
            self, commands, channel=job.channel(commands), obey_clock=self._obey_clock
        )
        self._on_first_step = on_first_step
        self._clock = TrainingClock(self.progress)
        self._meters: dict[str, LossMeter] = {}
        self._logged: dict[str, float | Tensor] = {}
        self._loss_names: WeakKeyDictionary[Optimizer, str] = WeakKeyDictionary()
        self._last_line = (0.0, 0)
        self._epoch_steps = 0
        self._described = 0
        self._length: tuple[int | None, int | None] = (None, None)

    @property
    def state(self) -> WatchedRun:
        """What counts the steps."""
        return self

    @property
    def ended(self) -> bool:
        """Whether a command has ended the run."""
        return bool(self._stop_reason)

    def count_left_out(self) -> int:
        """Return how many of the counted steps had no effect: none, as far as one can see."""
        return 0

    @property
    def stop_reason(self) -> str:
        """Why a command has ended the run; empty if none has."""
        return self._stop_reason

    @property
    def has_begun(self) -> bool:
        """Whether a step has been made, or is under way."""
        return self._last_line[0] > 0

    def begin(self) -> None:
        """Note that the first step is under way: the program's objects are there now."""
        self._on_first_step()
        self._job.check_group()
        models = self._models()
        device = device_of(models)
        self._events.emit(ev.DeviceDescribed(device=describe_device(device)))
        self._events.emit(ev.ModelSummarized(summary=layer_table(models)))
        self._events.emit(self._started())
        self.begin_phase("training")
        self._clock.start()
        self._last_line = (time.monotonic(), 0)
        if self.meter is not None:
            self.meter.begin(device)
            share_loads(self._job, LoadMeter(self._job.rank, device, self.meter), self._events.emit)

    def _open_checkpoints(self, folder: Path) -> RunCheckpoints:
        if not self._job.leads:
            return UnwrittenCheckpoints(self)
        return ProgramCheckpoints(self, folder, self._events)

    def _models(self) -> dict[str, nn.Module]:
        return find_models(self.learning_rate.optimizers)

    def _started(self) -> ev.RunStarted:
        return ev.RunStarted(processes=self._job.size)

    def add_optimizer(self, optimizer: Optimizer) -> None:
        """Note an optimizer when it steps for the first time; of several, each one gets a loss of its own."""
        self.learning_rate.add(optimizer)
        optimizers = self.learning_rate.optimizers
        if len(optimizers) > 1:
            for name, found in name_optimizers(optimizers).items():
                self._loss_names[found] = f"{LOSS}_{name}"
            if (meter := self._meters.pop(LOSS, None)) is not None:  # when it was the only one
                self._meters[self._loss_names[optimizers[0]]] = meter
        if self.has_begun and len(optimizers) > self._described:
            self._described = len(optimizers)
            self._events.emit(ev.ModelSummarized(summary=layer_table(find_models(optimizers))))

    def add_loss(self, loss: Tensor, optimizer: Optimizer | None) -> None:
        """Add the loss of a step of this optimizer: a scalar without its graph."""
        if not self._job.leads:
            return
        name = LOSS if optimizer is None else self._loss_names.get(optimizer, LOSS)
        self._meters.setdefault(name, LossMeter()).add(loss, 1, self.progress.step + 1)

    def add_metrics(self, metrics: dict[str, Any]) -> None:
        """Add what the program logs itself; the newest value of a name goes into the next line.

        What is no number is left out. A value on the device is copied there, and read with the line.
        """
        if not self._job.leads:
            return
        for given, logged in metrics.items():
            if given in COUNTERS or (value := _scalar(logged)) is None:
                continue
            name = printable(given)[:MOST_CHARACTERS]
            name = f"log/{name}" if name in FACTS or name == "lr" or name.startswith(LOSS) else name
            if len(self._logged) < MOST_METRICS or name in self._logged:
                self._logged[name] = value

    def begin_epoch(self, batches: int | None) -> None:
        """Note that a new pass over the training data has begun; `batches` is its length if known."""
        progress = self.progress
        if progress.epoch or self._epoch_steps:
            batches = self._epoch_steps
        progress.epoch += 1
        self._epoch_steps = 0
        length = (batches, find_epochs(progress.epoch))
        if batches and length != self._length:
            self._length = length
            self._events.emit(ev.LengthEstimated(steps_per_epoch=batches, total_epochs=length[1]))

    def boundary(self) -> None:
        """End a step. Raises ProgramStopped after a stop, each time if the program goes on nevertheless.

        The host waits for the device here only when a line is due.
        """
        if self.ended:
            self._catches += 1
            if self._catches >= MOST_CATCHES:
                log.warning(CAUGHT)
                os._exit(0)
            raise ProgramStopped(self._stop_reason)
        progress = self.progress
        progress.step += 1
        self._epoch_steps += 1
        now = time.monotonic()
        if self.meter is not None:
            self.meter.end_step(now)
        last, _ = self._last_line
        often = self.progress.active_seconds < OFTEN_UNTIL
        if now - last >= (OFTEN_SECONDS if often else SELDOM_SECONDS) or progress.step == 1:
            self._log_line(now)
        if not self._handler.is_quiet():
            self.apply_commands()

    def count_steps(self, steps: int) -> None:
        """Count steps that have been made without a boundary."""
        self.progress.step += steps
        self._epoch_steps += steps

    def apply_commands(self) -> None:
        """Apply the commands that are waiting, and wait while paused. Raises ProgramStopped after a stop."""
        self._handler.apply_all()
        if self.meter is not None:
            self.meter.leave_out()
        if self.ended:
            raise ProgramStopped(self._stop_reason)

    def finish(self, reason: str) -> None:
        """Count the last step, log the last line, and reject the commands that came too late."""
        self._leave_job()
        if self.has_begun and not self.ended:
            self.progress.step += 1
        self._log_end(reason)

    def _leave_job(self) -> None:
        if self.meter is not None:
            self.meter.end()
        self._job.close()

    def _log_end(self, reason: str) -> None:
        if self.has_begun and self._last_line[1] < self.progress.step:
            self._log_line(time.monotonic())
        self._handler.reject_rest(reason)
        self.checkpoints.flush()

    def _log_line(self, now: float) -> None:
        last, step = self._last_line
        self._clock.tick()
        if not self._job.leads:  # nobody sees its line, and the host need not wait for the device
            self._last_line = (now, self.progress.step)
            return
        metrics: dict[str, float] = {}
        for name, meter in self._meters.items():
            loss, nonfinite = meter.read(), meter.take_nonfinite()
            if nonfinite or not math.isnan(loss):
                metrics[name] = loss
        with suppress(CommandRejectedError):
            metrics["lr"] = self.learning_rate.current
        if step and now > last:
            metrics["steps_per_sec"] = (self.progress.step - step) / (now - last)
        for name, value in self._logged.items():
            metrics.setdefault(name, float(value))
        self._logged.clear()
        self._last_line = (now, self.progress.step)
        self._events.log(
            MetricsPoint(
                self.progress.step, self.progress.epoch, time.time(), self.progress.active_seconds, metrics
            )
        )

    # What the command handler calls.

    def emit(self, event: ev.Event) -> None:
        """Report an event."""
        self._events.emit(event)

    def begin_phase(self, phase: ev.PhaseName) -> None:
        """Report what the run does now."""
        self._events.emit(ev.PhaseChanged(phase=phase))

    def evaluate(self, reason: Literal["schedule", "command"]) -> Metrics | None:
        """Reject the command: raises CommandRejectedError."""
        raise CommandRejectedError(NO_EVALUATION)

    def _obey_clock(self, command: ByClock) -> None:
        """End the training of all processes, if this loop can end by itself."""

    def measure_layers(self, every: int) -> None:
        """Reject the command: raises CommandRejectedError."""
        raise CommandRejectedError(
            "the layers of a program of yours cannot be measured, only those of a preset"
        )

    def freeze_layer(self, layer: str, *, is_frozen: bool) -> str:
        """Reject the command: raises CommandRejectedError."""
        raise CommandRejectedError("the layers of a program of yours are frozen by its own code only")

    def change_setting(self, setting: str) -> Outcome:
        """Reject the command: raises CommandRejectedError."""
        raise CommandRejectedError("a program of yours has no preset; its own code has its settings")

    def summarize(self) -> None:
        """Return nothing: no command changes the layers."""

    def roll_back(self, checkpoint: str | None) -> Outcome:
        """Reject the command: raises CommandRejectedError."""
        raise CommandRejectedError(
            "only the training of a preset can be rolled back while it runs; stop the program, and resume it "
            "from a checkpoint if it keeps its state"
        )

    def end(self, status: Literal["finished", "stopped"], reason: str) -> None:
        """End the program at this boundary, after a save."""
        self._stop_reason = reason
        self.checkpoints.save("stop")

    def stop_clock(self) -> None:
        """A pause begins."""
        self._clock.tick()

    def start_clock(self) -> None:
        """A pause is over."""
        self._clock.start()
        self._last_line = (time.monotonic(), self.progress.step)


def _scalar(value: Any) -> float | Tensor | None:
    """Return a logged value as a number, or as a copy of it on its device; None if it is no number."""
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.is_complex():
            return None
        return value.detach().clone() if value.device.type != "cpu" else float(value.detach())
    if isinstance(value, bool | str | bytes):
        return None
    try:
        return float(value)
    except Exception:  # noqa: BLE001 - any object may be logged, and none ends the program
        return None
