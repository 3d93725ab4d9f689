"""Reads runs from CSV files: our own, those of Lightning and Keras, or any with a column for the step."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import open_regular
from torchconsole.engine.run.imports.recording import Recording, our_names

FORMAT = "CSV"

STEPS = ("step", "global_step", "_step", "iteration", "epoch")
"""Columns with the step, the first that is there; small letters stand for any."""

TIMES = ("time", "wall time", "wall_time", "_timestamp", "timestamp")
OTHERS = ("run", "epoch", "active_seconds", "_runtime", "relative time (process)")
"""Columns that are no metrics."""

LARGEST_STEP = 2**53


def read_csv(path: Path) -> list[Recording]:
    """Read the runs of a table, one for each value of the column `run` if there is one.

    Raises RunError if it has no column for the step, and OSError.
    """
    with open_regular(path) as file, io.TextIOWrapper(file, "utf-8-sig", "replace", newline="") as text:
        reader = csv.DictReader(text)
        try:
            return list(_runs(reader, path))
        except csv.Error as error:
            raise RunError(f"{path}: line {reader.line_num}: {error}") from error


def _runs(reader: csv.DictReader[str], path: Path) -> Iterator[Recording]:
    columns = {name.lower().strip(): name for name in reader.fieldnames or []}
    step_column = next((columns[name] for name in STEPS if name in columns), None)
    if step_column is None:
        raise RunError(
            f"{path}: has no column for the step ({', '.join(STEPS)}); its first line must name the columns"
        )
    facts = {step_column, *(columns[name] for name in (*TIMES, *OTHERS) if name in columns)}
    names = our_names([name for name in columns.values() if name not in facts])
    time_column = next((columns[name] for name in TIMES if name in columns), "")
    epoch_column, run_column = columns.get("epoch", ""), columns.get("run", "")
    found: dict[str, Recording] = {}
    for row in reader:
        step = _number(row, step_column)
        if step is None or not 0 <= step <= LARGEST_STEP:
            continue
        run = (row.get(run_column) or "") if run_column else ""
        recording = found.setdefault(run, Recording(run or _name(path), str(path), FORMAT))
        for column, name in names.items():
            if (value := _number(row, column)) is not None:
                recording.add(int(step), name, value, _number(row, time_column))
        epoch = _number(row, epoch_column)
        if int(step) in recording.steps and epoch is not None and 0 <= epoch <= LARGEST_STEP:
            recording.steps[int(step)].epoch = int(epoch)
    for recording in found.values():
        _count_from_one(recording, step_is_epoch=step_column == epoch_column)
    yield from found.values()


def _count_from_one(recording: Recording, *, step_is_epoch: bool) -> None:
    """Count epochs from 1, as everywhere here; Keras and Lightning count from 0."""
    epochs = [step.epoch for step in recording.steps.values() if step.epoch is not None]
    if min(epochs, default=1) == 0:
        for step in recording.steps.values():
            step.epoch = None if step.epoch is None else step.epoch + 1
        if step_is_epoch:
            recording.steps = {number + 1: step for number, step in recording.steps.items()}


def _number(row: Mapping[str, str | None], column: str) -> float | None:
    """Return the number in a cell, which may be `nan` or `inf`; None for an empty cell and for text."""
    try:
        return float(row.get(column) or "")
    except ValueError:
        return None


def _name(path: Path) -> str:
    """Return a name for the run: that of the folder for names that loggers give to every file."""
    return path.parent.name if path.stem in ("metrics", "scalars", "log", "logs", "history") else path.stem
