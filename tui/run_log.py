"""What happened to a run as lines of text: its commands, their effects, and its log.

The log is formatted from the events as they arrive, or rebuilt from the state that a snapshot holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import (
    ChangePreset,
    ChangeSetting,
    Command,
    FreezeLayer,
    HoldLearningRate,
    MeasureLayers,
    RollBack,
    SetLearningRate,
    TrainSteps,
    UnfreezeLayer,
    UnknownCommand,
)
from torchconsole.engine.protocol.run_state import History, RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metrics_window import Moment, read_moments
from torchconsole.engine.text import counted, printable
from torchconsole.tui.formatting import format_lr, format_named_metric, format_number, format_phase

LINES = 1000
REBUILT_EVALUATIONS = 100
ROUTINE_SECONDS = 5.0
"""Least time between two entries of a kind that recurs. Epochs may take only a fraction of a second."""

RECURRING = ("evaluated", "saved")
"""Kinds of entries of which only one is shown in ROUTINE_SECONDS; the others are counted."""

_ROUTINE = ("training", "paused", "evaluating", "saving")
"""Phases that recur throughout a run, and so are not logged."""

_COMMAND_NAMES = {
    "PauseRun": "pause",
    "UnpauseRun": "unpause",
    "ReleaseLearningRate": "release",
    "SaveCheckpoint": "save",
    "RunEvaluation": "evaluate",
    "ProfileSteps": "profile",
    "StopRun": "stop",
}

Level = Literal["output", "debug", "info", "warning", "error"]

Kind = Literal["message", "phase", "evaluated", "saved", "change", "resumed", "end"]
"""What an entry tells. A `message` was logged or printed."""


def command_name(command: Command | UnknownCommand) -> str:
    """Return a command's name on the screen: `pause`, `lr 0.01`, `lr x0.5`."""
    if isinstance(command, SetLearningRate):
        if command.value is not None:
            return f"lr {format_lr(command.value)}"
        return f"lr x{format_number(command.factor or 1.0)}"
    if isinstance(command, HoldLearningRate):
        return "hold" if command.value is None else f"hold {format_lr(command.value)}"
    if isinstance(command, TrainSteps):
        return counted(command.steps, "step")
    if isinstance(command, MeasureLayers):
        return f"measure layers {command.how_often}" if command.every else "measure no layers"
    if isinstance(command, RollBack):
        return f"roll back to {printable(command.checkpoint or 'the best checkpoint')}"
    if isinstance(command, FreezeLayer | UnfreezeLayer):
        return f"{'freeze' if isinstance(command, FreezeLayer) else 'unfreeze'} {printable(command.layer)}"
    if isinstance(command, ChangeSetting):
        return f"set {printable(command.setting)}"
    if isinstance(command, ChangePreset):
        return f"set {printable(', '.join(command.changes))}"
    return _COMMAND_NAMES.get(command.type) or printable(command.type)


def describe_effect(applied: ev.CommandApplied) -> str:
    """Return the engine's description of a command's effect, or the command's name if there is none."""
    return printable(applied.detail) or command_name(applied.command)


def describe_change(applied: ev.CommandApplied) -> str:
    """Return step, effect and author of a command."""
    return f"step {applied.step:,}: {describe_effect(applied)} · by {printable(applied.by)}"


@dataclass(frozen=True)
class Entry:
    """One entry of the log. `time` is in seconds since the epoch, None if it was not recorded.

    `values` are the names and values of an evaluation, which are shown as columns. `remark` is shown at the
    right. `others` counts the entries of the same kind before this one that are left out.
    """

    message: str
    level: Level = "info"
    time: float | None = None
    kind: Kind = "message"
    step: int | None = None
    values: tuple[tuple[str, str], ...] = ()
    remark: str = ""
    others: int = 0

    @property
    def text(self) -> str:
        """All of it as one text, for searching and copying."""
        step = "" if self.step is None else f"step {self.step:,} "
        values = "  ".join(f"{name} {value}" for name, value in self.values)
        return " ".join(part for part in (f"{step}{self.message}", values, self.remark) if part)


class RunLog:
    """The newest LINES entries. `entries` is a new list after every change.

    At most one entry of a recurring kind is added in ROUTINE_SECONDS. Of those in between the last one
    follows, with the number of the others, once the time is over or the run ends.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._phase: ev.PhaseChanged | None = None
        self._shown: dict[Kind, float] = {}
        self._held: dict[Kind, Entry] = {}

    def rebuild(self, state: RunState, history: History, now: float) -> None:
        """Start again with what the state at time `now` holds; see `recorded_entries`."""
        self._shown, self._held = {}, {}
        moments: list[Moment] = []
        with suppress(OSError):
            moments = read_moments(RunFolder(Path(state.folder)).metrics_file)
        self.entries = recorded_entries(state, history, now, moments)[-LINES:]

    def add(self, event: ev.Event) -> None:
        """Add the entry for an event, if it has one."""
        has_ended = isinstance(event, ev.RunFinished | ev.RunFailed | ev.RunLost)
        for kind in list(self._held):
            if has_ended or event.time - self._shown[kind] >= ROUTINE_SECONDS:
                self._shown[kind] = event.time
                self._append(self._held.pop(kind))
        if isinstance(event, ev.PhaseChanged):
            if event.continues(self._phase):
                return
            self._phase = event
        entry = format_event(event)
        if entry is None:
            return
        if entry.kind in RECURRING:
            if event.time - self._shown.get(entry.kind, -ROUTINE_SECONDS) < ROUTINE_SECONDS:
                held = self._held.get(entry.kind)
                self._held[entry.kind] = replace(entry, others=0 if held is None else held.others + 1)
                return
            self._shown[entry.kind] = event.time
        self._append(entry)

    def _append(self, entry: Entry) -> None:
        kept = self.entries
        if len(kept) >= LINES:
            # A program that prints a lot must not push out what happened to the run.
            printed = sum(old.level == "output" for old in kept)
            oldest = next((at for at, old in enumerate(kept) if old.level == "output"), 0)
            drop = oldest if 2 * printed > LINES else 0
            kept = kept[:drop] + kept[drop + 1 :]
        at = len(kept)
        while at and _is_before(entry, kept[at - 1]):
            at -= 1
        self.entries = [*kept[:at], entry, *kept[at:]]


def _is_before(entry: Entry, other: Entry) -> bool:
    """Whether an entry that was held back happened before one that is shown already."""
    return entry.time is not None and other.time is not None and entry.time < other.time


def format_event(event: ev.Event) -> Entry | None:
    """Format an event as an entry. Return None for one that another event already covers."""
    match event:
        case ev.LogWritten():
            return Entry(event.message, event.level, event.time)
        case ev.PhaseChanged() if event.phase not in _ROUTINE:
            hint = f"; {event.hint}" if event.hint else ""
            return Entry(format_phase(event) + hint, time=event.time, kind="phase")
        case ev.RunStarted():
            start = f"training continues after step {event.step:,}" if event.step else "training begins"
            return Entry(start, time=event.time, kind="phase")
        case ev.RunResumed():
            how = "resumed from" if event.rolled_back_from is None else "rolled back to"
            return Entry(f"{how} {event.checkpoint}", time=event.time, kind="resumed", step=event.step)
        case ev.EvaluationCompleted() if event.reason == "schedule":
            nonfinite = {name: float(kind) for name, kind in event.nonfinite.items()}
            return _evaluated(event.step, {**event.metrics, **nonfinite}, event.time)
        case ev.CheckpointSaved() if event.reason != "command":
            return _saved(event)
        case ev.CheckpointFailed():
            return Entry(event.reason, "error", event.time, step=event.step)
        case ev.CommandApplied():
            return Entry(
                describe_effect(event),
                time=event.time,
                kind="change",
                step=event.step,
                remark=f"by {printable(event.by)}" if event.by else "",
            )
        case ev.RunFinished():
            level: Level = "error" if event.problem else "info"
            return Entry(
                _format_end(event.status, event.reason, event.problem), level, event.time, kind="end"
            )
        case ev.RunFailed():
            return Entry(_format_end("failed", event.reason), "error", event.time, kind="end")
        case ev.RunLost():
            return Entry(_format_end("lost", event.reason), "error", event.time, kind="end")
        case _:
            return None


def recorded_entries(
    state: RunState, history: History, now: float, moments: Sequence[Moment] = ()
) -> list[Entry]:
    """Return the entries for everything that happened before `now`, oldest first.

    The time of an evaluation is that of its step, between those of the `moments`, the commands and the last
    checkpoint. Without moments it is not known: what has a step is then placed as if all took equally long.
    """
    end = state.ended or now
    events: list[ev.CommandApplied | ev.CheckpointSaved] = [*state.changes]
    events += [state.last_checkpoint] if state.last_checkpoint else []
    known = [(0, state.created), *((one.step, one.time) for one in (*moments, *events))]
    steps, times = np.array(sorted(known if moments else [(0, state.created), (state.step, end)])).T
    times = np.maximum.accumulate(times)

    def time_of(step: int | None) -> float:
        return float(np.interp(step or 0, steps, times))

    begin = "run imported" if "imported" in state.config else "run created"
    timed = [(state.created, Entry(begin, time=state.created, kind="phase"))]
    timed += [(event.time, Entry(event.message, event.level, event.time)) for event in state.log]
    for evaluation in _recorded_evaluations(history):
        time = time_of(evaluation.step)
        timed.append((time, replace(evaluation, time=time if moments else None)))
    for event in events:
        if entry := format_event(event):
            timed.append((event.time if moments else time_of(event.step), entry))
    if not state.is_live:
        level: Level = "error" if state.status in ("failed", "lost", "interrupted") else "info"
        text = _format_end(state.status, state.reason, state.problem)
        timed.append((max(end, timed[-1][0]), Entry(text, level, state.ended, kind="end")))
    return [entry for _, entry in sorted(timed, key=lambda pair: pair[0])]


def _recorded_evaluations(history: History) -> Iterator[Entry]:
    """Yield the recorded evaluations, at most REBUILT_EVALUATIONS, evenly spaced, without a time."""
    measured = {name: series for name, series in history.items() if name.startswith("val/") and len(series)}
    if not measured:
        return
    steps = next(iter(measured.values())).steps
    chosen = np.linspace(0, len(steps) - 1, min(len(steps), REBUILT_EVALUATIONS)).astype(int)
    for step in steps[chosen].tolist():
        metrics = {}
        for name, series in measured.items():
            index = int(np.searchsorted(series.steps, step))
            if index < len(series) and series.steps[index] == step:
                metrics[name] = float(series.values[index])
        yield _evaluated(step, metrics, None)


def _evaluated(step: int, metrics: Mapping[str, float | None], time: float | None) -> Entry:
    """Return the entry of an evaluation, without the values per class, of which there may be thousands."""
    values = tuple(
        (printable(name), format_named_metric(name, value))
        for name, value in metrics.items()
        if name.count("/") < 2
    )
    return Entry("", time=time, kind="evaluated", step=step, values=values)


def _saved(event: ev.CheckpointSaved) -> Entry:
    return Entry(
        f"saved {event.name}",
        time=event.time,
        kind="saved",
        step=event.step,
        remark="" if event.reason == "last" else event.reason,
    )


def _format_end(status: str, reason: str, problem: str = "") -> str:
    if problem:
        return f"{status}, but {problem}"
    return f"{status}: {reason}" if reason else status
