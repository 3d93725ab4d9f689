"""The state and history of a run from its files: for viewers without a live worker, and for a resume."""

from __future__ import annotations

import os
from collections.abc import Callable
from heapq import merge
from typing import Any

from pydantic import ValidationError

from torchconsole.engine.config.preset_files import read_toml
from torchconsole.engine.errors import PresetError, RunError, UnreachableError
from torchconsole.engine.files import is_away, open_regular, read_regular, write_atomically
from torchconsole.engine.protocol.events import EvaluationCompleted, LogWritten
from torchconsole.engine.protocol.json_text import dump_json
from torchconsole.engine.protocol.messages import Snapshot, explain
from torchconsole.engine.protocol.run_state import (
    LOG_LINES,
    History,
    RunState,
    Storage,
    apply,
    extend_history,
    fields_stored_in,
)
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.jsonl import read_json_lines
from torchconsole.engine.run.line_formats import read_changes, read_events, read_log
from torchconsole.engine.run.patience import within_patience
from torchconsole.engine.run.record import RunRecord

LOG_BYTES = 64 * 1024
"""Size of the part of worker.log that is read, from its end."""

HISTORY_BYTES = 64 << 20
"""Largest history.json that is read: one of 200 metrics has half of it at most."""

CACHE_EVERY = 20_000
"""Sequence numbers from one history.json to the next: as many lines are read in a tenth of a second."""

Progress = Callable[[float], object]
"""Receives the fraction of a long file that has been read, from 0 to 1."""


def read_snapshot(folder: RunFolder, progress: Progress = lambda _: None) -> Snapshot:
    """Read everything from the files of a run. Raises RunError."""
    state, history = read_run(folder, progress)
    state.log = read_log_tail(folder, state.created)
    return Snapshot(state=state, history={name: series.to_points() for name, series in history.items()})


def read_run(folder: RunFolder, progress: Progress = lambda _: None) -> tuple[RunState, History]:
    """Fold run.json, history.json and the lines after it into state and history. Raises RunError.

    run.json is up to a second older than the lines. Lines that it accounts for only extend the history; later
    ones also change the state. Without a history.json, a million lines take about two seconds.
    """
    state = _state_from(folder.read_record())
    saved = state.seq
    cached, history = read_history(folder)
    if cached.seq > saved:
        state = state.model_copy(
            update={name: getattr(cached, name) for name in fields_stored_in(Storage.CACHE)}
        )
    state.last_confusion = _confusion(folder)
    state.changes = cached.changes
    metrics = read_events(read_json_lines(folder.metrics_file, cached.seq, progress), split=saved)
    changes = read_changes(read_json_lines(folder.journal_file, cached.seq))
    try:
        for event in merge(metrics, changes, key=lambda event: event.seq):
            if event.seq > saved:
                apply(state, history, event)
            else:
                apply(cached, history, event)
                state.changes = cached.changes
    except OSError as error:
        kind = UnreachableError if is_away(error) else RunError
        raise kind(f"{folder.path}: its metrics cannot be read: {error.strerror}") from error
    state.config = _config(folder)  # it has every change of the journal, and those of resumes
    return state, history


def read_run_patiently(folder: RunFolder) -> tuple[RunState, History]:
    """Read a run as `read_run` does. Raises UnreachableError, a RunError, if its disk does not answer."""
    place = str(folder.path.parent)
    return within_patience(place, lambda advance: read_run(folder, lambda _: advance()))


def write_history(folder: RunFolder, snapshot: Snapshot) -> None:
    """Replace history.json, so that only the end of a long metrics.jsonl has to be read.

    Raises OSError; the old file is intact then.
    """
    stored = set(fields_stored_in(Storage.IDENTITY | Storage.CACHE))
    text = dump_json(snapshot, {"history": True, "state": stored})
    write_atomically(folder.history_file, text.encode())


def read_history(folder: RunFolder) -> tuple[RunState, History]:
    """Read history.json: the fold of all lines up to the state's `seq`. Empty, with `seq` 0, without one."""
    history: History = {}
    try:
        cached = Snapshot.model_validate_json(read_regular(folder.history_file, HISTORY_BYTES))
        extend_history(history, cached.history)
    except (OSError, ValueError):
        # Short runs have none, and a damaged one is no loss: every line is still there.
        return RunState(name=folder.name, folder=str(folder.path)), {}
    return cached.state, history


def _state_from(record: RunRecord) -> RunState:
    """Build the state that a record holds. Raises RunError if it is not valid."""
    shared = {name: getattr(record, name) for name in fields_stored_in(Storage.RECORD | Storage.IDENTITY)}
    details = {
        name: record.details[name] for name in fields_stored_in(Storage.DETAILS) if name in record.details
    }
    try:
        return RunState.model_validate({**details, **shared})
    except ValidationError as error:
        raise RunError(f"{record.folder}/run.json: invalid content: {explain(error)}") from error


def _confusion(folder: RunFolder) -> EvaluationCompleted | None:
    """Read the latest confusion matrix; a run can do without one."""
    try:
        return EvaluationCompleted.model_validate_json(read_regular(folder.confusion_file))
    except (OSError, ValueError):
        return None


def _config(folder: RunFolder) -> dict[str, Any]:
    """Read the preset for display: the run can be shown without it if it is missing or invalid."""
    try:
        return read_toml(folder.preset_file)
    except PresetError:
        return {}


def read_log_tail(folder: RunFolder, created: float) -> list[LogWritten]:
    """Read the last lines of worker.log; `created` is the time of lines before the first that has one."""
    try:
        with open_regular(folder.log_file) as file:
            start = max(0, file.seek(0, os.SEEK_END) - LOG_BYTES)
            file.seek(start)
            lines = file.read(LOG_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []
    complete = lines[1:] if start else lines
    return list(read_log(complete, created))[-LOG_LINES:]
