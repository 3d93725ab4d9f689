"""The story of a run in lines: told by its events as they come, or recalled from what a snapshot keeps."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.run_state import History, RunState
from torchconsole.tui.command_text import effect
from torchconsole.tui.formatting import format_metric, format_phase

LINES = 1000
RECALLED_EVALUATIONS = 100
EVALUATION_SECONDS = 5.0
"""Epochs may take a fraction of a second: their evaluations are told no more often than this."""

_ROUTINE = ("training", "paused", "evaluating", "saving")
"""Phases that recur throughout a run."""

_PRINTED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} (DEBUG|INFO|WARNING|ERROR) (.*)")
"""A line of worker.log as logging has written it."""

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class Entry:
    """One line. `time` in seconds since the epoch, None where it is not on record."""

    message: str
    level: Level = "info"
    time: float | None = None


class RunLog:
    """The lines so far; `entries` is another list after every change."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._evaluated = 0.0
        self._phase: ev.PhaseChanged | None = None

    def recall(self, state: RunState, history: History, live: bool, now: float) -> None:
        """Begin with what is known of the run at time `now`."""
        self.entries = recall(state, history, live, now)[-LINES:]

    def hear(self, event: ev.Event) -> None:
        """Add what an event tells."""
        if isinstance(event, ev.EvaluationCompleted):
            if event.time - self._evaluated < EVALUATION_SECONDS:
                return
            self._evaluated = event.time
        if isinstance(event, ev.PhaseChanged):
            if event.continues(self._phase):
                return
            self._phase = event
        if entry := tell(event):
            self.entries = [*self.entries[-LINES + 1 :], entry]


def tell(event: ev.Event) -> Entry | None:
    """The line that an event is worth; None where others say the same."""
    match event:
        case ev.LogWritten():
            return Entry(event.message, event.level, event.time)
        case ev.PhaseChanged() if event.phase not in _ROUTINE:
            hint = f"; {event.hint}" if event.hint else ""
            return Entry(format_phase(event) + hint, time=event.time)
        case ev.RunStarted():
            begun = f"training continues after step {event.step:,}" if event.step else "training begins"
            return Entry(begun, time=event.time)
        case ev.RunResumed():
            return Entry(f"resumed from {event.checkpoint}", time=event.time)
        case ev.EvaluationCompleted() if event.reason == "schedule":
            nonfinite = {name: float(kind) for name, kind in event.nonfinite.items()}
            return Entry(_evaluation(event.step, {**event.metrics, **nonfinite}), time=event.time)
        case ev.CheckpointSaved() if event.reason != "command":
            return Entry(f"step {event.step:,}: saved {event.name} ({event.reason})", time=event.time)
        case ev.CheckpointFailed():
            return Entry(event.reason, "error", event.time)
        case ev.CommandApplied():
            return Entry(f"step {event.step:,}: {effect(event)} · by {event.by}", time=event.time)
        case ev.RunFinished() | ev.RunFailed() | ev.RunLost():
            return _end(event)
        case _:
            return None


def recall(state: RunState, history: History, live: bool, now: float) -> list[Entry]:
    """The lines for what was before. Those without a time are put where their step belongs in between."""
    end = state.ended or now

    def moment(step: int) -> float:
        return state.created + (end - state.created) * min(1.0, step / max(1, state.step))

    found = [(state.created, Entry("run created", time=state.created))]
    found += [(entry.time or state.created, entry) for entry in _logged(state, live)]
    found += [(moment(step), Entry(message)) for step, message in _evaluations(history)]
    kept: list[ev.CommandApplied | ev.CheckpointSaved] = [*state.changes]
    kept += [state.last_checkpoint] if state.last_checkpoint else []
    found += [(moment(event.step), entry) for event in kept if (entry := tell(event))]
    if not state.is_live:
        level: Level = "error" if state.status in ("failed", "lost", "interrupted") else "info"
        found.append((end, Entry(_ending(state.status, state.reason), level, state.ended)))
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]


def _logged(state: RunState, live: bool) -> Iterator[Entry]:
    """What the worker logged; from files, a line without a time of its own has that of the line before."""
    last = state.created
    for event in state.log:
        if live:
            yield Entry(event.message, event.level, event.time)
        elif match := _PRINTED.fullmatch(event.message):
            last = time.mktime(time.strptime(match[1], "%Y-%m-%d %H:%M:%S"))
            yield Entry(match[3], _LEVELS[match[2]], last)
        else:
            yield Entry(event.message, event.level, last)


_LEVELS: dict[str, Level] = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error"}


def _evaluations(history: History) -> Iterator[tuple[int, str]]:
    """Step and line of the evaluations that the history holds, evenly thinned where they are many."""
    measured = {name: series for name, series in history.items() if name.startswith("val/") and len(series)}
    if not measured:
        return
    steps = next(iter(measured.values())).steps
    chosen = np.linspace(0, len(steps) - 1, min(len(steps), RECALLED_EVALUATIONS)).astype(int)
    for step in steps[chosen].tolist():
        metrics = {}
        for name, series in measured.items():
            at = int(np.searchsorted(series.steps, step))
            if at < len(series) and series.steps[at] == step:
                metrics[name] = float(series.values[at])
        yield step, _evaluation(step, metrics)


def _evaluation(step: int, metrics: Mapping[str, float | None]) -> str:
    values = [f"{name} {format_metric(value)}" for name, value in metrics.items() if value is not None]
    return f"step {step:,}: {', '.join(values)}"


def _end(event: ev.RunFinished | ev.RunFailed | ev.RunLost) -> Entry:
    if isinstance(event, ev.RunFinished):
        return Entry(_ending(event.status, event.reason), time=event.time)
    return Entry(
        _ending("failed" if isinstance(event, ev.RunFailed) else "lost", event.reason), "error", event.time
    )


def _ending(status: str, reason: str) -> str:
    return f"{status}: {reason}" if reason else status
