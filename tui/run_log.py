"""What happened to a run as lines of text: its commands, their effects, and its log.

The log is formatted from the events as they arrive, or rebuilt from the state that a snapshot holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import Command, HoldLearningRate, SetLearningRate, UnknownCommand
from torchconsole.engine.protocol.run_state import History, RunState
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_lr, format_named_metric, format_number, format_phase

LINES = 1000
REBUILT_EVALUATIONS = 100
EVALUATION_SECONDS = 5.0
"""Least time between two evaluations in the log. Epochs may take only a fraction of a second."""

_ROUTINE = ("training", "paused", "evaluating", "saving")
"""Phases that recur throughout a run, and so are not logged."""

_COMMAND_NAMES = {
    "PauseRun": "pause",
    "UnpauseRun": "unpause",
    "ReleaseLearningRate": "release",
    "SaveCheckpoint": "save",
    "RunEvaluation": "evaluate",
    "StopRun": "stop",
    "ChangePreset": "change the preset",
}

Level = Literal["debug", "info", "warning", "error"]


def command_name(command: Command | UnknownCommand) -> str:
    """Return a command's name on the screen: `pause`, `lr 0.01`, `lr x0.5`."""
    if isinstance(command, SetLearningRate):
        if command.value is not None:
            return f"lr {format_lr(command.value)}"
        return f"lr x{format_number(command.factor or 1.0)}"
    if isinstance(command, HoldLearningRate):
        return "hold" if command.value is None else f"hold {format_lr(command.value)}"
    return _COMMAND_NAMES.get(command.type) or printable(command.type)


def describe_effect(applied: ev.CommandApplied) -> str:
    """Return the engine's description of a command's effect, or the command's name if there is none."""
    return printable(applied.detail) or command_name(applied.command)


@dataclass(frozen=True)
class Entry:
    """One entry of the log. `time` is in seconds since the epoch, None if it was not recorded."""

    message: str
    level: Level = "info"
    time: float | None = None


class RunLog:
    """The newest LINES entries. `entries` is a new list after every change."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._evaluated = 0.0
        self._phase: ev.PhaseChanged | None = None

    def rebuild(self, state: RunState, history: History, now: float) -> None:
        """Start again with what the state at time `now` holds; see `recorded_entries`."""
        self.entries = recorded_entries(state, history, now)[-LINES:]

    def add(self, event: ev.Event) -> None:
        """Add the entry for an event, if it has one."""
        if isinstance(event, ev.EvaluationCompleted):
            if event.time - self._evaluated < EVALUATION_SECONDS:
                return
            self._evaluated = event.time
        if isinstance(event, ev.PhaseChanged):
            if event.continues(self._phase):
                return
            self._phase = event
        if entry := format_event(event):
            self.entries = [*self.entries[-LINES + 1 :], entry]


def format_event(event: ev.Event) -> Entry | None:
    """Format an event as an entry. Return None for one that another event already covers."""
    match event:
        case ev.LogWritten():
            return Entry(event.message, event.level, event.time)
        case ev.PhaseChanged() if event.phase not in _ROUTINE:
            hint = f"; {event.hint}" if event.hint else ""
            return Entry(format_phase(event) + hint, time=event.time)
        case ev.RunStarted():
            start = f"training continues after step {event.step:,}" if event.step else "training begins"
            return Entry(start, time=event.time)
        case ev.RunResumed():
            return Entry(f"resumed from {event.checkpoint}", time=event.time)
        case ev.EvaluationCompleted() if event.reason == "schedule":
            nonfinite = {name: float(kind) for name, kind in event.nonfinite.items()}
            return Entry(_format_evaluation(event.step, {**event.metrics, **nonfinite}), time=event.time)
        case ev.CheckpointSaved() if event.reason != "command":
            return Entry(f"step {event.step:,}: saved {event.name} ({event.reason})", time=event.time)
        case ev.CheckpointFailed():
            return Entry(event.reason, "error", event.time)
        case ev.CommandApplied():
            return Entry(f"step {event.step:,}: {describe_effect(event)} · by {event.by}", time=event.time)
        case ev.RunFinished():
            level: Level = "error" if event.problem else "info"
            return Entry(_format_end(event.status, event.reason, event.problem), level, event.time)
        case ev.RunFailed():
            return Entry(_format_end("failed", event.reason), "error", event.time)
        case ev.RunLost():
            return Entry(_format_end("lost", event.reason), "error", event.time)
        case _:
            return None


def recorded_entries(state: RunState, history: History, now: float) -> list[Entry]:
    """Return the entries for everything that happened before `now`, oldest first.

    Evaluations, commands and checkpoints are placed by their step, as if all steps took equally long.
    """
    end = state.ended or now

    def time_of(step: int) -> float:
        return state.created + (end - state.created) * min(1.0, step / max(1, state.step))

    timed = [(state.created, Entry("run created", time=state.created))]
    timed += [(event.time, Entry(event.message, event.level, event.time)) for event in state.log]
    timed += [(time_of(step), Entry(message)) for step, message in _evaluations(history)]
    events: list[ev.CommandApplied | ev.CheckpointSaved] = [*state.changes]
    events += [state.last_checkpoint] if state.last_checkpoint else []
    timed += [(time_of(event.step), entry) for event in events if (entry := format_event(event))]
    if not state.is_live:
        level: Level = "error" if state.status in ("failed", "lost", "interrupted") else "info"
        timed.append((end, Entry(_format_end(state.status, state.reason, state.problem), level, state.ended)))
    return [entry for _, entry in sorted(timed, key=lambda pair: pair[0])]


def _evaluations(history: History) -> Iterator[tuple[int, str]]:
    """Yield step and text of the recorded evaluations, at most REBUILT_EVALUATIONS, evenly spaced."""
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
        yield step, _format_evaluation(step, metrics)


def _format_evaluation(step: int, metrics: Mapping[str, float | None]) -> str:
    values = [f"{name} {format_named_metric(name, value)}" for name, value in metrics.items()]
    return f"step {step:,}: {', '.join(values)}"


def _format_end(status: str, reason: str, problem: str = "") -> str:
    if problem:
        return f"{status}, but {problem}"
    return f"{status}: {reason}" if reason else status
