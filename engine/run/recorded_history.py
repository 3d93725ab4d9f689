"""A run as its files tell it: for a viewer when there is no worker to ask, and for a resume to go on from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from heapq import merge
from typing import Any

from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.events import EvaluationCompleted, LogWritten
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import LOG_LINES, History, Kept, RunState, apply, fields_kept
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.history_cache import read_history
from torchconsole.engine.run.jsonl import read_json_lines
from torchconsole.engine.run.metrics_format import read_changes, read_events
from torchconsole.engine.run.run_json import state_from

LOG_BYTES = 64 * 1024
"""How far back worker.log is read."""


Progress = Callable[[float], object]
"""Hears which part of a long file has been read, from 0 to 1."""


def read_snapshot(folder: RunFolder, progress: Progress = lambda _: None) -> Snapshot:
    """Everything that the files say. Raises RunError."""
    state, history = read_run(folder, progress)
    state.log = _log_tail(folder, state.created)
    return Snapshot(state=state, history={name: series.to_points() for name, series in history.items()})


def read_run(folder: RunFolder, progress: Progress = lambda _: None) -> tuple[RunState, History]:
    """The state and the history, folded from run.json, history.json and the lines after it. Raises RunError.

    run.json is up to a second older than the lines: those it knows of make history alone, later ones also
    change the state. Where there is no history.json, a million lines take about two seconds.
    """
    state = state_from(folder.read_record())
    saved = state.seq
    known, history = read_history(folder)
    if known.seq > saved:
        state = state.model_copy(update={name: getattr(known, name) for name in fields_kept(Kept.CACHE)})
    state.config = _config(folder)
    state.last_confusion = _confusion(folder)
    state.changes = known.changes
    metrics = read_events(read_json_lines(folder.metrics_file, known.seq, progress), split=saved)
    changes = read_changes(read_json_lines(folder.journal_file, known.seq))
    for event in merge(metrics, changes, key=lambda event: event.seq):
        if event.seq > saved:
            apply(state, history, event)
        else:
            apply(known, history, event)
            state.changes = known.changes
    return state, history


def _confusion(folder: RunFolder) -> EvaluationCompleted | None:
    """The latest confusion matrix, which a run may do without."""
    try:
        return EvaluationCompleted.model_validate_json(folder.confusion_file.read_bytes())
    except (OSError, ValueError):
        return None


def _config(folder: RunFolder) -> dict[str, Any]:
    """The preset, for people to look at: one that is missing or wrong does not hide the run."""
    try:
        return tomllib.loads(folder.preset_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as error:
        raise RunError(f"{folder.preset_file}: cannot be read: {error}") from error


def _log_tail(folder: RunFolder, time: float) -> list[LogWritten]:
    """The last lines of worker.log; when each was written is not on record."""
    try:
        with folder.log_file.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - LOG_BYTES)
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    whole = lines[1:] if start else lines
    return [LogWritten(message=line, time=time) for line in whole[-LOG_LINES:]]
