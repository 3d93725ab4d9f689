"""What the console shows: the state of a run, and what only the console knows about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

import numpy as np

from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import History, RunState, apply, extend_history
from torchconsole.engine.text import printable
from torchconsole.tui.device_history import DeviceHistory
from torchconsole.tui.formatting import format_number, seconds_left
from torchconsole.tui.lr_preview import LrPreview, lr_preview
from torchconsole.tui.run_log import RunLog, command_name, describe_change, describe_effect
from torchconsole.tui.silence import SilenceMeter

NEWS_SECONDS, ALARM_SECONDS = 10.0, 20.0
"""How long a notice is shown, and how long one that tells of an error or a warning."""

MOST_REFUSED = 200
"""Refused commands that are kept for the list of changes."""

EVALUATING_SECONDS = 0.5
"""Shorter evaluations leave the status at `running`, which would flicker otherwise."""

ResumePoint = tuple[str, int]
"""A checkpoint's name and its step."""

Connection = Literal["connecting", "live", "files", "closed"]
"""Not connected yet; connected to the worker; read from files, so no events will come; broken."""

_ENDINGS = {
    "finished": "the run has finished",
    "stopped": "the run was stopped",
    "failed": "the run has failed",
    "lost": "the worker exited unexpectedly",
    "interrupted": "the machine was rebooted",
}

Tone = Literal["muted", "attn", "good", "bad"]

_WARNING_TONES: dict[str, Tone] = {"warning": "attn", "error": "bad"}


@dataclass(frozen=True)
class Notice:
    """The line that answers the user: a requested command, its effect, or why it failed.

    It also shows what the user did not ask for: somebody else's change, or a warning, of which `level` is
    that in the log. `time` is when it came up.
    """

    text: str = ""
    tone: Tone = "muted"
    level: str = ""
    time: float = field(default=0.0, compare=False)


@dataclass
class ConsoleState:
    """A run as one console sees it. All changes go through its methods (called by `RunSession`).

    `connection_error` is why the connection was lost, `read_only` why a live run takes no commands from here.
    `pending` are the commands without an answer, `refused` those from here that were not applied, with the
    reason and the time. `clock` returns seconds since the epoch.
    `user_error`: the run failed because of the user's error; worker.log has no more about it, or is deleted.
    `can_start_anyway`: only findings refused its start. `found_checkpoint` is the one on disk that a resume
    of an ended run would continue from, once somebody has looked.
    """

    run: RunState
    history: History = field(default_factory=dict)
    connection: Connection = "connecting"
    connection_error: str = ""
    read_only: str = ""
    pending: list[cmd.Command] = field(default_factory=list)
    refused: list[tuple[cmd.Command, str, float]] = field(default_factory=list)
    notice: Notice = Notice()
    clock: Callable[[], float] = time.time
    user_error: bool = False
    can_start_anyway: bool = False
    log: RunLog = field(default_factory=RunLog)
    device_history: DeviceHistory = field(default_factory=DeviceHistory)
    found_checkpoint: ResumePoint | None = None
    resume_advice: str = ""
    """What takes the place of a resume; empty if the run can be resumed from here."""
    others: list[str] = field(default_factory=list)
    """The users of the other consoles and commands that are connected."""
    _silence: SilenceMeter = field(init=False)

    def __post_init__(self) -> None:
        self._silence = SilenceMeter(self.clock)

    def show_reading_progress(self, part: float) -> None:
        """Show which part of the run's files has been read, from 0 to 1, as a phase of the run."""
        last = self.run.phase
        reading = ev.PhaseChanged(
            phase="reading metrics", done=round(100 * part), total=100, unit="%", time=self.clock()
        )
        if last is not None and reading.continues(last):
            reading.began = last.began or last.time
        apply(self.run, self.history, reading)

    def attach(self, snapshot: Snapshot, live: bool, read_only: str = "") -> None:
        """Start with everything that happened before this console connected."""
        if self.has_ended:
            self.notice = Notice()
        self.read_only = read_only
        self._load(snapshot, live)
        if live and read_only:
            self.say(read_only, "attn")

    def set_read_only(self, reason: str) -> None:
        """Note why a live run takes no commands from here now; empty if it does."""
        if reason == self.read_only:
            return
        self.read_only = reason
        if self.run.is_live:
            self.say(reason or "the run takes commands again", "attn" if reason else "good")

    def _load(self, snapshot: Snapshot, live: bool) -> None:
        self.run = snapshot.state.model_copy()
        self.history = {}
        extend_history(self.history, snapshot.history)
        self.connection = "live" if live else "files"
        self.connection_error = ""
        self.others = []
        self.user_error = self.can_start_anyway = False
        self.found_checkpoint = None
        self.resume_advice = ""
        self.device_history = DeviceHistory()
        if self.run.telemetry is not None:
            self.device_history.add(self.run.telemetry)
        self._silence.restart()
        self.log.rebuild(self.run, self.history, self.clock())
        if self.run.status == "starting":
            for entry in self.run.log:
                self._show_warning(entry)

    def receive(self, event: ev.Event | Snapshot) -> None:
        """Apply an event. A snapshot replaces everything before it."""
        if isinstance(event, Snapshot):
            self._load(event, live=True)
            return
        if isinstance(event, ev.ClientsChanged):
            self.others = [printable(name) for name in event.others]
            return
        if self.is_connected:
            self._silence.receive(event, self.run)
        apply(self.run, self.history, event)
        if isinstance(event, ev.RunResumed):  # a live run was rolled back
            self._silence.restart()
            self.run = self.run.model_copy()  # nothing that was read for the run before holds
        self.log.add(event)
        if isinstance(event, ev.TelemetryMeasured):
            self.device_history.add(event.telemetry)
        if isinstance(event, ev.LogWritten):
            self._show_warning(event)
        if isinstance(event, ev.RunFailed):
            self.user_error, self.can_start_anyway = event.user_error, event.can_start_anyway
        if isinstance(event, ev.RunPaused):
            self._drop_notice_of_steps()
        # A command from here stays pending until after this event, and its answer is a notice anyway.
        if isinstance(event, ev.CommandApplied) and not self.pending:
            self.say(describe_change(event), "good")

    def _show_warning(self, entry: ev.LogWritten) -> None:
        """Show a warning as the notice, because the log may be hidden and scrolls."""
        if tone := _WARNING_TONES.get(entry.level):
            first_line, _, _ = entry.message.partition("\n")
            self.say(first_line, tone, entry.level)

    def add_output(self, events: Sequence[ev.LogWritten]) -> None:
        """Add what the training printed and nobody has reported, from the end of worker.log."""
        known = {line for entry in self.log.entries for line in entry.message.splitlines()}
        for event in events:
            if event.level == "output" and event.message.strip() and event.message not in known:
                self.log.add(event)

    def disconnect(self, error: str) -> None:
        """Note that no more events will come, and the error unless the run has just ended."""
        self.connection_error = error
        self.connection = "closed"
        self.others = []

    def begin_command(self, command: cmd.Command) -> None:
        """Note that a command was sent."""
        self.pending.append(command)
        self.say(f"{command_name(command)} requested", "attn")

    def end_command(self, command: cmd.Command) -> None:
        """Note that a command waits for its answer no longer."""
        self.pending.remove(command)

    def command_applied(self, applied: ev.CommandApplied) -> None:
        """Show the effect of a command."""
        is_change = not isinstance(applied.command, cmd.UNCHANGING)
        is_named = isinstance(applied.command, cmd.SaveCheckpoint)  # the checkpoint's name has the step
        step = "" if is_named else f" · {'applied ' * is_change}at step {applied.step:,}"
        self.say(f"{describe_effect(applied)}{step}", "good")

        if self.run.status == "paused":
            self._drop_notice_of_steps()

    def _drop_notice_of_steps(self) -> None:
        """Drop what is said about steps until a pause: the message line says at which step the run stands."""
        last = self.run.changes[-1:]
        if last and isinstance(last[0].command, cmd.TrainSteps) and self.notice.tone == "good":
            self.notice = Notice()

    def command_failed(self, command: cmd.Command, problem: str) -> None:
        """Show that a command was rejected or not applied, and why."""
        self.refused = [*self.refused[-MOST_REFUSED + 1 :], (command, problem, self.clock())]
        self.say(f"{command_name(command)} {problem}", "bad")

    def refuse_command(self, verb: str) -> None:
        """Show why the run cannot be asked to do something, for example to `pause`."""
        self.say(f"cannot {verb}: {self.why_not_steerable}", "attn")

    @property
    def has_ended(self) -> bool:
        """Whether no more events will come: the run or the connection has ended."""
        return self.connection != "connecting" and not self.is_connected

    @property
    def is_connected(self) -> bool:
        """Whether the run is live and its events arrive here."""
        return self.connection == "live" and self.run.is_live

    @property
    def is_steerable(self) -> bool:
        """Whether the run takes commands from here."""
        return self.is_connected and not self.read_only

    @property
    def why_not_steerable(self) -> str:
        """The reason, as a clause."""
        if not self.run.is_live:
            return _ENDINGS[self.run.status]
        if self.connection == "connecting":
            return "not connected yet"
        if self.connection == "closed":
            return "the connection was lost"
        return self.read_only or "the run is live"

    @property
    def can_resume(self) -> bool:
        """Whether the run ended early and has a checkpoint to resume from."""
        ended_early = self.run.status in ("stopped", "failed", "lost", "interrupted")
        return ended_early and self.resume_point is not None and not self.read_only

    @property
    def can_extend(self) -> bool:
        """Whether the run is complete, so that it can be resumed with more epochs."""
        is_complete = self.run.status == "finished" and self.has_ended and not self.read_only
        return is_complete and not (self.is_program or self.is_imported)

    @property
    def is_program(self) -> bool:
        """Whether this is the run of a program of the user's own, which alone knows its epochs."""
        return "script" in self.run.config

    @property
    def is_imported(self) -> bool:
        """Whether the run was imported from another tool, so that it has nothing to go on with."""
        return "imported" in self.run.config

    @property
    def resume_point(self) -> ResumePoint | None:
        """The name and the step of the checkpoint that a resume continues from; None if there is none."""
        if self.resume_advice:
            return None
        saved = self.run.last_checkpoint
        return self.found_checkpoint or (None if saved is None else (saved.name, saved.step))

    @property
    def message(self) -> Notice | None:
        """The notice while it is news."""
        notice = self.notice
        if not notice.text:
            return None
        seconds = ALARM_SECONDS if notice.level or notice.tone == "bad" else NEWS_SECONDS
        return notice if self.clock() - notice.time < seconds else None

    def say(self, text: str, tone: Tone, level: str = "") -> None:
        """Show a notice."""
        self.notice = Notice(text, tone, level, self.clock())

    @property
    def status(self) -> str:
        """The run's status, or `pausing` or `stopping` while such a command is pending, or `evaluating`."""
        if self.run.status in ("starting", "running", "paused"):
            for command in reversed(self.pending):
                if isinstance(command, cmd.StopRun):
                    return "stopping"
                if isinstance(command, cmd.PauseRun) and self.run.status != "paused":
                    return "pausing"
        phase = self.slow_phase
        if self.run.status == "running" and phase is not None and phase.phase == "evaluating":
            return "evaluating" if self.phase_seconds >= EVALUATING_SECONDS else "running"
        return self.run.status

    @property
    def wants_pause(self) -> bool:
        """Whether the run is paused or will be, so that the pause key unpauses it."""
        for command in reversed(self.pending):
            if isinstance(command, (cmd.PauseRun, cmd.UnpauseRun)):
                return isinstance(command, cmd.PauseRun)
        return self.run.status in ("pausing", "paused")

    @property
    def wants_hold(self) -> bool:
        """Whether the lr is held or will be, so that the hold key releases it."""
        for command in reversed(self.pending):
            if isinstance(command, (cmd.HoldLearningRate, cmd.ReleaseLearningRate)):
                return isinstance(command, cmd.HoldLearningRate)
        return self.run.lr_held is not None

    @property
    def lr_preview(self) -> LrPreview:
        """The lr ahead, without pending changes."""
        return lr_preview(self.run)

    def lr_after(self, *commands: LearningRateCommand) -> LrPreview:
        """Return the lr ahead after the pending changes and then `commands`.

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
        """The lr once every pending change is applied; None if no change is pending."""
        return self.lr_after().lr if self._pending_lr_changes else None

    @property
    def divergence(self) -> str:
        """Which loss is not finite and since when; empty while both are finite."""
        for name in (*self.run.losses, "val/loss"):
            series = self.history.get(name)
            if series and not np.isfinite(series.values[-1]):
                first = int(np.flatnonzero(np.isfinite(np.append(0.0, series.values)))[-1])
                return f"{name} is {format_number(series.values[first])} since step {series.steps[first]:,}"
        return ""

    @property
    def slow_phase(self) -> ev.PhaseChanged | None:
        """What the run is doing instead of training; None if it trains, is paused or has ended."""
        phase = self.run.phase
        return None if phase is None or phase.phase in ("training", "paused") or self.has_ended else phase

    @property
    def phase_seconds(self) -> float:
        """How long the slow phase has lasted; 0 without one."""
        phase = self.slow_phase
        return 0.0 if phase is None else max(0.0, self.clock() - (phase.began or phase.time))

    @property
    def phase_seconds_left(self) -> float | None:
        """Time left in the slow phase at its mean speed so far; None while unknown."""
        phase = self.slow_phase
        left = None if phase is None else seconds_left(phase)
        return None if phase is None or left is None else max(0.0, left - (self.clock() - phase.time))

    @property
    def silence(self) -> float:
        """Seconds since the last event of a live run; 0 while that is usual."""
        return self._silence.seconds if self.is_connected else 0.0

    @property
    def active_seconds(self) -> float:
        """How long the run has trained, without stalled time."""
        return self.run.active_seconds - self._silence.stalled_seconds

    @property
    def eta_seconds(self) -> float | None:
        """Time left at the mean speed so far, without stalled time; None while unknown."""
        eta = self.run.eta_seconds
        if eta is None or self.silence:
            return None
        return eta * self.active_seconds / self.run.active_seconds
