"""Reads runs from CSV files: our own, those of Lightning and Keras, or any with a column for the step."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

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
        return _Table(_rows(text, separator, path), path, SEPARATORS[separator]).read()


def _rows(text: TextIO, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each row, and the line in which it starts; blank lines are no rows.

    Raises RunError where the text is no CSV.
    """
    reader = csv.reader(text, delimiter=separator)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise RunError(f"{path}: line {reader.line_num}: {error}") from error


class _Table:
    """A table with a row for each step, and what its columns are for."""

    def __init__(self, rows: Iterator[tuple[int, list[str]]], path: Path, separator: str) -> None:
        """Raises RunError if it has no column for the step."""
        _, names = next(rows, (1, []))
        columns = {name.lower().strip(): name for name in names}
        self._rows, self._path, self._separator = rows, path, separator
        self._columns = names
        self._step = next((columns[name] for name in STEPS if name in columns), "")
        if not self._step:
            raise RunError(
                f"{path}: has no column for the step ({', '.join(STEPS)}); its first line must name the "
                f"columns, separated by {' or '.join(SEPARATORS.values())}"
            )
        self._time = next((columns[name] for name in TIMES if name in columns), None)
        self._epoch, self._run = columns.get("epoch"), columns.get("run")
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
        for number, fields in self._rows:
            line = f"line {number:,}"
            row = dict(zip(self._columns, fields, strict=False))
            run = row.get(self._run, "") if self._run is not None else ""
            if run not in found:
                found[run] = Recording(run or _name(self._path), str(self._path), FORMAT, notes=self._notes)
            self._add(found[run], row, line, has_more=len(fields) > len(self._columns))
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

    def _add(self, recording: Recording, row: Mapping[str, str], line: str, *, has_more: bool) -> None:
        """Add the values of a row, which may have more fields than there are columns."""
        given, step = row.get(self._step, ""), _number(row, self._step)
        if step is None or not 0 <= step <= LARGEST_STEP:
            what = f"left out, without a number of 0 or more in {self._step!r}"
            self._notes.add("row", what, f"{line} ({given!r})")
            return
        if step != int(step):
            self._notes.add("row", f"with a fraction in {self._step!r}, rounded down", f"{line} ({given})")
        if has_more:
            what = "with more fields than the first line, whose extra fields are left out"
            self._notes.add("row", what, line)
        time = _number(row, self._time)
        for column, name in self._names.items():
            value = _number(row, column)
            if value is not None:
                self._with_numbers.add(column)
                if recording.add(int(step), name, value, time):
                    self._notes.add("value", REPLACED, f"{column!r} in {line}")
            elif text := row.get(column, "").strip():
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


def _number(row: Mapping[str, str], column: str | None) -> float | None:
    """Return the number in a cell, which may be `nan` or `inf`; None for an empty cell, text or no column."""
    try:
        return None if column is None else float(row.get(column, ""))
    except ValueError:
        return None


def _name(path: Path) -> str:
    """Return a name for the run: that of the folder for names that loggers give to every file."""
    return path.parent.name if path.stem in ("metrics", "scalars", "log", "logs", "history") else path.stem
