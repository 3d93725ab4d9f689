"""Reads runs from CSV files: our own, those of Lightning and Keras, or any with a column for the step."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import open_regular
from torchconsole.engine.run.imports.recording import NOT_A_NUMBER, REPLACED, Notes, Recording, our_names

FORMAT = "CSV"

STEPS = ("step", "global_step", "_step", "iteration", "epoch")
"""Columns with the step, the first that is there; small letters stand for any."""

TIMES = ("time", "wall time", "wall_time", "_timestamp", "timestamp")
OTHERS = ("run", "epoch", "active_seconds", "_runtime", "relative time (process)")
"""Columns that are no metrics."""

LARGEST_STEP = 2**53


SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars (|)"}
"""What separates columns: the one that is most frequent in the first line."""


def read_csv(path: Path) -> list[Recording]:
    """Read the runs of a table, one for each value of the column `run` if there is one.

    Raises RunError if it has no column for the step, and OSError.
    """
    with open_regular(path) as file, io.TextIOWrapper(file, "utf-8-sig", "replace", newline="") as text:
        header = text.readline()
        text.seek(0)
        separator = max(SEPARATORS, key=header.count)
        reader = csv.DictReader(text, delimiter=separator)
        try:
            return _Table(reader, path, SEPARATORS[separator]).read()
        except csv.Error as error:
            raise RunError(f"{path}: line {reader.line_num}: {error}") from error


class _Table:
    """A table with a row for each step, and what its columns are for."""

    def __init__(self, reader: csv.DictReader[str], path: Path, separator: str) -> None:
        """Raises RunError if it has no column for the step."""
        names = list(reader.fieldnames or [])
        columns = {name.lower().strip(): name for name in names}
        self._reader, self._path, self._separator = reader, path, separator
        self._step = next((columns[name] for name in STEPS if name in columns), "")
        if not self._step:
            raise RunError(
                f"{path}: has no column for the step ({', '.join(STEPS)}); its first line must name the "
                f"columns, separated by {' or '.join(SEPARATORS.values())}"
            )
        self._time = next((columns[name] for name in TIMES if name in columns), "")
        self._epoch, self._run = columns.get("epoch", ""), columns.get("run", "")
        facts = {self._step, *(columns[name] for name in (*TIMES, *OTHERS) if name in columns)}
        self._names = our_names([name for name in dict.fromkeys(names) if name not in facts])
        self._with_numbers: set[str] = set()
        self._texts = {name: Notes() for name in self._names}
        self._notes = Notes()
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            self._notes.add("column", "left out, as the last one of the same name counts", name)

    def read(self) -> list[Recording]:
        """Return the runs, also those without a step."""
        found: dict[str, Recording] = {}
        line = self._reader.line_num + 1
        for row in self._reader:
            run = (row.get(self._run) or "") if self._run else ""
            if run not in found:
                found[run] = Recording(run or _name(self._path), str(self._path), FORMAT, notes=self._notes)
            self._add(found[run], row, f"line {line:,}")
            line = self._reader.line_num + 1
        for name, texts in self._texts.items():
            if name in self._with_numbers:
                self._notes.take(texts)
            else:
                self._notes.add("column", "left out, without numbers", name or "one without a name")
        used = {name: ours for name, ours in self._names.items() if name in self._with_numbers}
        for recording in found.values():
            recording.separator = self._separator
            recording.rename(used)
            _count_from_one(recording, step_is_epoch=self._step == self._epoch)
        return list(found.values())

    def _add(self, recording: Recording, row: Mapping[str, str | None], line: str) -> None:
        """Add the values of a row."""
        given, step = row.get(self._step) or "", _number(row, self._step)
        if step is None or not 0 <= step <= LARGEST_STEP:
            what = f"left out, without a number of 0 or more in {self._step!r}"
            self._notes.add("row", what, f"{line} ({given!r})")
            return
        if step != int(step):
            self._notes.add("row", f"with a fraction in {self._step!r}, rounded down", f"{line} ({given})")
        if None in row:  # where csv.DictReader puts what has no column
            self._notes.add("row", "with more fields than the first line, which are left out", line)
        time = _number(row, self._time)
        for column, name in self._names.items():
            value = _number(row, column)
            if value is not None:
                self._with_numbers.add(column)
                if recording.add(int(step), name, value, time):
                    self._notes.add("value", REPLACED, f"{column!r} in {line}")
            elif text := (row.get(column) or "").strip():
                self._texts[column].add("value", NOT_A_NUMBER, f"{text!r} of {column!r} in {line}")
        epoch = _number(row, self._epoch)
        if int(step) in recording.steps and epoch is not None and 0 <= epoch <= LARGEST_STEP:
            recording.steps[int(step)].epoch = int(epoch)


def _count_from_one(recording: Recording, *, step_is_epoch: bool) -> None:
    """Count epochs from 1, as everywhere here; Keras and Lightning count from 0."""
    epochs = [step.epoch for step in recording.steps.values() if step.epoch is not None]
    if min(epochs, default=1) == 0:
        recording.notes.add("run", "with epochs from 0, which are counted from 1 here", recording.name)
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
