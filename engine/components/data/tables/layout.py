"""The layout of a CSV file, from its first lines: the separator, the header and the width of its rows."""

from __future__ import annotations

import csv
import itertools
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torchconsole.engine.components.data.tables.options import CSV, WHITESPACE
from torchconsole.engine.components.data.tables.text_file import TextFile
from torchconsole.engine.errors import DataError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": '"|"'}
"""Separators that are detected."""

SAMPLE_LINES = 1_000
SAMPLE_CHARACTERS = 2**20
"""How much of the file is looked at to find out its layout."""

Record = tuple[int, list[str]]
"""The line where a row starts, counted from 1, and its fields."""


@dataclass(frozen=True)
class Layout:
    """How the rows of a file are divided, and what its columns are called."""

    sep: str
    names: list[str]
    """A unique name for each column; see `renamed`."""
    sample: list[list[str]]
    """The first rows."""
    unnamed: set[str] = field(default_factory=set)
    """Columns without a name in the header, by the names that they get."""
    renamed: dict[str, str] = field(default_factory=dict)
    """New name -> name in the header, of columns whose name is not unique."""
    notes: list[str] = field(default_factory=list)


def find_layout(file: TextFile, options: CSV) -> Layout:
    """Read the first lines. Raises DataError for rows that do not fit the header, and for an empty file."""
    lines, complete = _first_lines(file)
    sep = options.sep or _find_separator(lines, file, complete)
    rows = _complete_records(lines, sep, file.skiprows, complete)
    if not rows:
        raise DataError(f"data: {file.path} has no rows")
    given = rows.pop(0)[1] if options.header else [str(number) for number in range(len(rows[0][1]))]
    if not rows:
        raise DataError(f"data: {file.path} has no rows")
    notes = []
    if sep != "," and options.sep is None:
        notes.append(
            f"columns are separated by {SEPARATORS[sep]} in the first {len(rows) + options.header:,} rows "
            f"(data.sep = {_toml(sep)})"
        )
    if all(len(fields) == len(given) + 1 for _, fields in rows):
        if any(fields[-1].strip() for _, fields in rows):
            given = ["", *given]
            notes.append(
                "the header has one name fewer than the rows have fields: the first field names the row"
            )
        else:
            given = [*given, ""]
    if misfit := _first_misfit(rows, len(given)):
        raise DataError(
            describe_misfit(file, misfit, len(given), sep) + _suggest_start(file, lines, rows, len(given))
        )
    names, unnamed, renamed = _unique_names(given)
    return Layout(sep, names, [fields for _, fields in rows], unnamed, renamed, notes)


def records(lines: Iterable[str], sep: str, skipped: int = 0) -> Iterator[Record]:
    """Yield the rows, as pandas divides them; blank lines are none. `skipped` lines come before `lines`."""
    if sep == WHITESPACE:
        for number, line in enumerate(lines, start=skipped + 1):
            if fields := line.split():
                yield number, fields
        return
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(lines, delimiter=sep, skipinitialspace=True)
    start = skipped + 1
    for fields in reader:
        if len(fields) > 1 or any(field.strip() for field in fields):
            yield start, fields
        start = skipped + reader.line_num + 1


def find_misfit(file: TextFile, width: int, sep: str, header: bool) -> Record | None:
    """Read the whole file for the first row that has not `width` fields."""
    with file.open() as text:
        rows = records(text, sep, file.skiprows)
        return _first_misfit(itertools.islice(rows, int(header), None), width)


def line_of_row(file: TextFile, row: int, sep: str, header: bool) -> int:
    """Return the line in which row `row`, counted from 0, starts."""
    with file.open() as text:
        return next(itertools.islice(records(text, sep, file.skiprows), row + header, None))[0]


def describe_misfit(file: TextFile, misfit: Record, width: int, sep: str) -> str:
    """Return the message about a row with more or fewer fields than there are columns."""
    line, fields = misfit
    shown = "blanks" if sep == WHITESPACE else repr(sep)
    advice = f"correct that line, or put fields that contain {shown} in double quotes"
    count, columns = (
        f"{n} {word}{'s' * (n != 1)}" for n, word in ((len(fields), "field"), (width, "column"))
    )
    return f"data: {file.path} has {count} in line {line:,}, but {columns}: {advice}"


def _suggest_start(file: TextFile, lines: Sequence[str], rows: Sequence[Record], width: int) -> str:
    """Return the end of a message if other lines seem to come before the header."""
    start = lines[0].lstrip()[:1]
    if start in ("#", "%") and file.comment is None:
        return f'; if lines that start with {start} are comments, set data.comment = "{start}"'
    usual = statistics.mode(len(fields) for _, fields in rows)
    header = next(line for line, fields in rows if len(fields) == usual)
    if usual == width:
        return ""
    return f"; if line {header:,} has the names of the columns, set data.skiprows = {header - 1}"


def _first_lines(file: TextFile) -> tuple[list[str], bool]:
    """Return the first lines, and whether they are all there are."""
    lines: list[str] = []
    size = 0
    with file.open() as text:
        for line in text:
            if len(lines) >= SAMPLE_LINES or (size > SAMPLE_CHARACTERS and len(lines) > 2):
                return lines, False
            lines.append(line)
            size += len(line)
    return lines, True


def _complete_records(lines: list[str], sep: str, skipped: int, complete: bool) -> list[Record]:
    """Return the rows in `lines`; without the last one if the lines may end within it."""
    rows = list(records(lines, sep, skipped))
    return rows if complete or len(rows) < 3 else rows[:-1]


def _find_separator(lines: list[str], file: TextFile, complete: bool) -> str:
    """Return the separator that divides the most rows into as many fields as the header has, at least two."""
    found: dict[str, tuple[float, int]] = {}
    for sep in SEPARATORS:
        widths = [len(fields) for _, fields in _complete_records(lines, sep, 0, complete)]
        if len(widths) > 1 and widths[0] > 1:
            rows = widths[1:]
            fitting = max(rows.count(widths[0]), len(rows) * (set(rows) == {widths[0] + 1}))
            found[sep] = (fitting / len(rows), widths[0])
        elif widths and widths[0] > 1:
            found[sep] = (0, widths[0])
    if not found:
        if set(map(len, (line.split() for line in lines if line.strip()))) - {1} and _fits_blanks(lines):
            raise DataError(
                f"data.sep: {file.path} seems to have columns that are separated by blanks: set "
                'data.sep = "\\\\s+"'
            )
        return ","
    best = max(found.values())
    candidates = [sep for sep, score in found.items() if score == best]
    if len(candidates) > 1:
        names = " or ".join(SEPARATORS[sep] for sep in candidates)
        raise DataError(
            f"data.sep: the columns of {file.path} may be separated by {names}: set data.sep = "
            f"{_toml(candidates[0])} or {_toml(candidates[1])}"
        )
    return candidates[0]


def _fits_blanks(lines: Sequence[str]) -> bool:
    widths = {len(line.split()) for line in lines if line.strip()}
    return len(widths) == 1 and min(widths) > 1


def _first_misfit(rows: Iterable[Record], width: int) -> Record | None:
    return next((row for row in rows if len(row[1]) != width), None)


def _unique_names(given: Sequence[str]) -> tuple[list[str], set[str], dict[str, str]]:
    """Return unique names, as pandas makes them, those of unnamed columns, and those that were changed."""
    names: list[str] = []
    unnamed, renamed = set(), {}
    taken = {name.strip("\ufeff \t\r\n\xa0") for name in given}
    for number, raw in enumerate(given):
        wanted = raw.strip("\ufeff \t\r\n\xa0")
        name = wanted or f"Unnamed: {number}"
        suffix = 1
        while name in names or (name != wanted and name in taken):
            name, suffix = f"{wanted or f'Unnamed: {number}'}.{suffix}", suffix + 1
        names.append(name)
        if not wanted:
            unnamed.add(name)
        elif name != wanted:
            renamed[name] = wanted
    return names, unnamed, renamed


def _toml(text: str) -> str:
    return '"\\t"' if text == "\t" else f'"{text}"'
