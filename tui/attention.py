"""What the user is told about runs that are out of view, and the title of the terminal's window."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchconsole.engine.protocol.happenings import LEAST_SECONDS, describe, happening_of
from torchconsole.tui.formatting import format_metric, format_number, format_percent

if TYPE_CHECKING:
    from torchconsole.engine.protocol.run_state import RunState
    from torchconsole.engine.run.record import RunRecord

PROGRAM = "torchconsole"


@dataclass(frozen=True)
class SeenRun:
    """What is known of a run at a moment. `best` has metric, value and step."""

    folder: str
    name: str
    status: str
    reason: str
    step: int
    progress: float | None
    loss: float | None
    best: tuple[str, float | None, int] | None
    is_live: bool

    @classmethod
    def of_state(cls, state: RunState) -> SeenRun:
        """What the screen of a run knows."""
        best = (state.best.metric, state.best.value, state.best.step) if state.best else None
        progress = state.step / state.total_steps if state.total_steps else None
        return cls(
            state.folder,
            state.name,
            state.status,
            state.reason,
            state.step,
            progress,
            state.metrics.get("train/loss"),
            best,
            state.is_live,
        )

    @classmethod
    def of_record(cls, record: RunRecord) -> SeenRun:
        """What the list of runs knows."""
        found: Any = record.best
        best = (found["metric"], found["value"], found["step"]) if found else None
        return cls(
            record.folder,
            record.name,
            record.status,
            record.reason,
            record.step,
            record.progress,
            None,
            best,
            record.is_live,
        )


class Attention:
    """Notices what happens to runs from one look to the next. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._before: dict[str, SeenRun] = {}
        self._told_best: dict[str, float] = {}

    def look(self, runs: Iterable[SeenRun], in_view: str, *, is_away: bool, now: float) -> list[str]:
        """Return what to tell: runs that have ended or have a new best while their screen was not looked at.

        `in_view` is the folder of the run whose screen is shown, if one is; `is_away` whether nobody looks
        at the terminal.
        """
        told = []
        for run in runs:
            before, self._before[run.folder] = self._before.get(run.folder), run
            if before is None or (run.folder == in_view and not is_away):
                continue
            happening = happening_of(run.status, run.reason)
            if before.is_live and not run.is_live and happening:
                told.append(describe(happening, run.name, run.step, run.reason, _best_text(run)))
            elif run.is_live and self._is_new_best(before, run, now):
                told.append(describe("best", run.name, run.step, best=_best_text(run)))
        return told

    def _is_new_best(self, before: SeenRun, run: SeenRun, now: float) -> bool:
        if not before.best or not run.best or before.best[2] == run.best[2]:
            return False
        if now - self._told_best.get(run.folder, -math.inf) < LEAST_SECONDS:
            return False
        self._told_best[run.folder] = now
        return True


def window_title(run: SeenRun | None) -> str:
    """Return `37% loss 0.1234 · NAME` for a live run, `finished · NAME` for an ended one."""
    if run is None:
        return PROGRAM
    if not run.is_live:
        return f"{run.status} · {run.name}"
    parts = [format_percent(run.progress) if run.progress is not None else f"step {run.step:,}"]
    if run.status != "running":
        parts.append(run.status)
    if run.loss is not None:
        parts.append(f"loss {format_number(run.loss)}")
    return f"{' '.join(parts)} · {run.name}"


def _best_text(run: SeenRun) -> str:
    if run.best is None:
        return ""
    metric, value, step = run.best
    return f"{metric} {'nan' if value is None else format_metric(value)} at step {step:,}"
