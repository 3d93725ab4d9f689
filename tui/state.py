"""What the console shows: the state of a run, and what only the console knows of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

import numpy as np

from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import (
    Command,
    HoldLearningRate,
    PauseRun,
    ReleaseLearningRate,
    StopRun,
    UnpauseRun,
)
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import History, RunState, apply, extend_history
from torchconsole.tui.formatting import format_number
from torchconsole.tui.lr_preview import LrPreview, lr_preview
from torchconsole.tui.run_log import RunLog, tell

Connection = Literal["connecting", "live", "files", "closed"]
"""Not there yet; news may come; none will, the run is shown from its files; broken off."""

_ENDINGS = {
    "finished": "the run has finished",
    "stopped": "the run was stopped",
    "failed": "the run has failed",
    "lost": "the worker is gone",
    "interrupted": "the machine was rebooted",
}

SILENT_FROM_SECONDS = 5.0
"""A worker that is watched speaks every two seconds, so that a longer silence is worth telling."""

ORDINARY_PHASES = ("training", "paused")
"""Phases that the status already shows."""


Tone = Literal["muted", "warn", "good", "bad"]

_WARNING_TONES: dict[str, Tone] = {"warning": "warn", "error": "bad"}


@dataclass(frozen=True)
class Notice:
    """One line that answers the user: a command on its way, its effect, or why it has none. Or what nobody
    here asked for: somebody else's change, or a warning, `from_log`.
    """

    text: str = ""
    tone: Tone = "muted"
    from_log: bool = False


@dataclass
class ConsoleState:
    """A run as one console sees it. `receive` and the connection change `run`; commands change the rest.

    `read_only` is why a live run takes no commands from here, where it does not. `clock` gives seconds since
    the epoch. `stood_still` are active seconds of the run in which its worker
    was silent, as a stopped process is.
    """

    run: RunState
    history: History = field(default_factory=dict)
    connection: Connection = "connecting"
    fault: str = ""
    read_only: str = ""
    pending: list[Command] = field(default_factory=list)
    notice: Notice = Notice()
    clock: Callable[[], float] = time.time
    heard: float = 0.0
    stood_still: float = 0.0
    story: RunLog = field(default_factory=RunLog)
    _silent: float = 0.0

    def read_so_far(self, part: float) -> None:
        """Note which part of the run's lines has been read, from 0 to 1, before there is anything to show."""
        last = self.run.phase
        reading = ev.PhaseChanged(
            phase="reading metrics", done=round(100 * part), total=100, unit="%", time=self.clock()
        )
        if last is not None and reading.continues(last):
            reading.began = last.began or last.time
        apply(self.run, self.history, reading)

    def attach(self, snapshot: Snapshot, live: bool, read_only: str = "") -> None:
        """Begin with everything that happened before this console was there."""
        if self.has_ended:
            self.notice = Notice()
        self.read_only = read_only
        self.run = snapshot.state.model_copy()
        self.history = {}
        extend_history(self.history, snapshot.history)
        self.connection = "live" if live else "files"
        self.fault = ""
        self.heard = self.clock()
        self.stood_still = self._silent = 0.0
        self.story.recall(self.run, self.history, live, self.heard)
        if self.run.status == "starting":
            for entry in self.run.log:
                self._warn(entry)

    def receive(self, event: ev.Event | Snapshot) -> None:
        """Take in what the run says of itself; a snapshot takes the place of all before it."""
        if isinstance(event, Snapshot):
            self.attach(event, live=True, read_only=self.read_only)
            return
        self._listen(event)
        apply(self.run, self.history, event)
        self.story.hear(event)
        if isinstance(event, ev.LogWritten):
            self._warn(event)
        # A command of our own is pending until after it is heard of; its answer is a notice itself.
        if isinstance(event, ev.CommandApplied) and not self.pending and (entry := tell(event)):
            self.notice = Notice(entry.message, "good")

    def _warn(self, entry: ev.LogWritten) -> None:
        """A warning must not pass unseen where the log is not open, or scrolls away."""
        if tone := _WARNING_TONES.get(entry.level):
            first, _, _ = entry.message.partition("\n")
            self.notice = Notice(f"{entry.level} (2 log): {first}", tone, from_log=True)

    def _listen(self, event: ev.Event) -> None:
        """After a silence, the first metrics may be from before it: the time it took is in a later leap."""
        if self.run.status == "running":
            self._silent += self.silence
        self.heard = self.clock()
        if isinstance(event, ev.MetricsLogged):
            leap = event.active_seconds - self.run.active_seconds
            if leap >= SILENT_FROM_SECONDS:
                self.stood_still += min(self._silent, leap)
                self._silent = 0.0

    def disconnect(self, fault: str) -> None:
        """Note that no more events will come, and why if that is not the run's own end."""
        self.fault = fault
        self.connection = "closed"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be heard: the run is over, or the connection is."""
        return self.connection != "connecting" and not self.is_heard

    @property
    def is_heard(self) -> bool:
        """Whether the run goes on and is listened to."""
        return self.connection == "live" and self.run.is_live

    @property
    def is_steerable(self) -> bool:
        """Whether a command can reach a worker."""
        return self.is_heard and not self.read_only

    @property
    def unreachable(self) -> str:
        """What stands against asking something of the run, as the beginning of a sentence."""
        if not self.run.is_live:
            return _ENDINGS[self.run.status]
        if self.connection == "connecting":
            return "not connected yet"
        if self.connection == "closed":
            return "the connection is gone"
        return self.read_only or "the run is live"

    @property
    def can_resume(self) -> bool:
        """Whether the run ended early and left a checkpoint to go on from."""
        ended_early = self.run.status in ("stopped", "failed", "lost", "interrupted")
        return ended_early and self.run.last_checkpoint is not None and not self.read_only

    @property
    def status(self) -> str:
        """The run's status, with a pause or a stop that is asked for and not yet heard of."""
        if self.run.status in ("starting", "running", "paused"):
            for command in reversed(self.pending):
                if isinstance(command, StopRun):
                    return "stopping"
                if isinstance(command, PauseRun) and self.run.status != "paused":
                    return "pausing"
        return self.run.status

    @property
    def wants_pause(self) -> bool:
        """Whether the run pauses or is about to, so that the pause key means: go on."""
        for command in reversed(self.pending):
            if isinstance(command, (PauseRun, UnpauseRun)):
                return isinstance(command, PauseRun)
        return self.run.status in ("pausing", "paused")

    @property
    def wants_hold(self) -> bool:
        """Whether the lr is held or about to be, so that the hold key means: release."""
        for command in reversed(self.pending):
            if isinstance(command, (HoldLearningRate, ReleaseLearningRate)):
                return isinstance(command, HoldLearningRate)
        return self.run.lr_held is not None

    @property
    def lr_preview(self) -> LrPreview:
        """The lr ahead, without changes that are still on their way."""
        return lr_preview(self.run)

    def lr_after(self, *commands: LearningRateCommand) -> LrPreview:
        """The lr ahead after the changes on their way, and after `commands`.

        Raises CommandRejectedError for one of `commands` that the engine will reject.
        """
        preview = self.lr_preview
        for command in self._pending_lr_changes:
            with suppress(CommandRejectedError):
                preview = preview.after(command)
        return reduce(LrPreview.after, commands, preview)

    @property
    def _pending_lr_changes(self) -> list[LearningRateCommand]:
        return [command for command in self.pending if isinstance(command, LearningRateCommand)]

    @property
    def pending_lr(self) -> float | None:
        """What the lr will be once every change on its way is applied; None when there is none."""
        return self.lr_after().lr if self._pending_lr_changes else None

    @property
    def divergence(self) -> str:
        """Which loss is no finite number, and since when; empty while both are."""
        for name in ("train/loss", "val/loss"):
            series = self.history.get(name)
            if series and not np.isfinite(series.values[-1]):
                first = int(np.flatnonzero(np.isfinite(np.append(0.0, series.values)))[-1])
                return f"{name} is {format_number(series.values[first])} since step {series.steps[first]:,}"
        return ""

    @property
    def slow_phase(self) -> ev.PhaseChanged | None:
        """What keeps the run from training at the moment; None if nothing does."""
        phase = self.run.phase
        return None if phase is None or phase.phase in ORDINARY_PHASES or self.has_ended else phase

    @property
    def phase_seconds(self) -> float:
        """How long the slow phase has lasted; 0 without one."""
        phase = self.slow_phase
        return 0.0 if phase is None else max(0.0, self.clock() - (phase.began or phase.time))

    @property
    def phase_seconds_left(self) -> float | None:
        """Time left in the slow phase at its mean speed so far; None while unknown."""
        phase = self.slow_phase
        if phase is None or phase.began is None or not phase.done or not phase.total:
            return None
        left = (phase.total - phase.done) * (phase.time - phase.began) / phase.done
        return max(0.0, left - (self.clock() - phase.time))

    @property
    def silence(self) -> float:
        """Seconds since a live run was heard of, 0 as long as that is nothing unusual."""
        seconds = self.clock() - self.heard
        return seconds if self.is_heard and seconds >= SILENT_FROM_SECONDS else 0.0

    @property
    def active_seconds(self) -> float:
        """How long the run has trained, times of silence left out."""
        return self.run.active_seconds - self.stood_still

    @property
    def eta_seconds(self) -> float | None:
        """Time left at the mean pace so far, times of silence left out; None while unknown."""
        eta = self.run.eta_seconds
        if eta is None or self.silence:
            return None
        return eta * self.active_seconds / self.run.active_seconds
