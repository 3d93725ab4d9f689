"""The layout of a CSV file, from its first lines: the separator, the header and the width of its rows."""

from __future__ import annotations

import csv
import itertools
import re
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torchconsole.engine.components.data.tables.number_format import FORMATS
from torchconsole.engine.components.data.tables.options import CSV, WHITESPACE, composed
from torchconsole.engine.components.data.tables.text_file import TextFile
from torchconsole.engine.errors import DataError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": '"|"'}
"""Separators that are detected."""

SAMPLE_LINES = 1_000
SAMPLE_CHARACTERS = 2**20
"""How much of the file is looked at to find out its layout."""

COMMENTS = ("#", "%")
"""How lines often start that are comments."""

MAX_TITLE_ROWS = 50
"""Number of rows among which the names of the columns are looked for."""

BLANKS = "\ufeff \t\r\n\xa0"
"""What is removed around names; a file in UTF-16 may have a byte order mark there."""

Record = tuple[int, list[str]]
"""The line where a row starts, counted from 1, and its fields."""


@dataclass(frozen=True)
class Dialect:
    """How rows are divided into fields."""

    sep: str
    quoting: bool = True
    escapechar: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of csv.reader."""
        quoting = csv.QUOTE_MINIMAL if self.quoting else csv.QUOTE_NONE
        common = {"skipinitialspace": True, "quoting": quoting, "escapechar": self.escapechar}
        return {"delimiter": self.sep, **common}

    def records(self, lines: Iterable[str], skipped: int = 0) -> Iterator[Record]:
        """Yield the rows as pandas divides them, without blank lines; `skipped` lines come before `lines`."""
        if self.sep == WHITESPACE:
            for number, line in enumerate(lines, start=skipped + 1):
                if fields := line.split():
                    yield number, fields
            return
        csv.field_size_limit(sys.maxsize)
        line = ""

        def read_lines() -> Iterator[str]:
            nonlocal line
            for line in lines:  # noqa: UP028 - `line` stays
                yield line

        reader = csv.reader(read_lines(), **self.options)
        start = skipped + 1
        for fields in reader:
            if len(fields) > 1 or line.strip():  # a quoted empty field alone is a row
                yield start, fields
            start = skipped + reader.line_num + 1


@dataclass(frozen=True)
class Layout:
    """How the rows of a file are divided, and what its columns are called."""

    file: TextFile
    dialect: Dialect
    header: bool
    """Whether the first row has the names of the columns."""
    names: list[str]
    """A unique name for each column; see `renamed`."""
    sample: list[list[str]]
    """The first rows."""
    unnamed: set[str] = field(default_factory=set)
    """Columns without a name in the header, by the names that they get."""
    renamed: dict[str, str] = field(default_factory=dict)
    """New name -> name in the header, of columns whose name is not unique."""
    notes: list[str] = field(default_factory=list)

    def check_widths(self) -> None:
        """Read the whole file. Raises DataError for a row with too many or too few fields."""
        with self.file.open() as text:
            rows = self.dialect.records(text, self.file.skiprows)
            rows = itertools.islice(rows, int(self.header), None)
            if misfit := _first_misfit(rows, len(self.names)):
                raise DataError(_describe_misfit(self.file, misfit, len(self.names), self.dialect))

    def lines(self) -> Iterator[int]:
        """Yield the line in which each row starts."""
        with self.file.open() as text:
            rows = self.dialect.records(text, self.file.skiprows)
            yield from (line for line, _ in itertools.islice(rows, int(self.header), None))

    def line_of_row(self, row: int) -> int:
        """Return the line in which row `row`, counted from 0, starts."""
        return next(itertools.islice(self.lines(), row, None))


def find_layout(file: TextFile, options: CSV) -> Layout:
    """Read the first lines. Raises DataError for rows that do not fit the header, and for an empty file."""
    lines, complete = _first_lines(file)
    sep = options.sep
    if lines and (declared := re.fullmatch(r'"?sep=(.)"?', lines[0].rstrip("\r\n"))):
        # Excel writes such a line before the header.
        file, lines, sep = replace(file, skiprows=file.skiprows + 1), lines[1:], sep or declared[1]
    found = Dialect(",", options.quoting, options.escapechar)
    if options.header:
        _check_header(
            lines, [replace(found, sep=each) for each in ([sep] if sep else SEPARATORS)], file, options
        )
    dialect = replace(found, sep=sep or _find_separator(lines, file, found, complete))
    rows = _complete_records(lines, dialect, file.skiprows, complete)
    if not rows:
        raise DataError(f"data: {file.path} has no rows")
    given = rows.pop(0)[1] if options.header else [str(number) for number in range(len(rows[0][1]))]
    if not rows:
        raise DataError(f"data: {file.path} has no rows")
    _check_single_quotes(rows, len(given), file)
    notes = []
    if sep is None and dialect.sep != ",":
        notes.append(
            f"columns are separated by {SEPARATORS[dialect.sep]} in the first {len(rows) + options.header:,} "
            f"rows (data.sep = {_toml(dialect.sep)})"
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
        start = _suggest_start(file, lines, rows, len(given))
        raise DataError(_describe_misfit(file, misfit, len(given), dialect) + start)
    names, unnamed, renamed = _unique_names(given)
    sample = [fields for _, fields in rows]
    return Layout(file, dialect, options.header, names, sample, unnamed, renamed, notes)


def _check_header(lines: Sequence[str], dialects: Sequence[Dialect], file: TextFile, options: CSV) -> None:
    """Raise DataError if the names of the targets are not in the first row, but in one of the next ones."""
    if lines and lines[0].lstrip()[:1] in COMMENTS and file.comment is None:
        return
    later = None
    for dialect in dialects:
        rows = [
            (line, [composed(field.strip(BLANKS)) for field in fields])
            for line, fields in itertools.islice(dialect.records(lines, file.skiprows), MAX_TITLE_ROWS)
        ]
        if rows and set(options.targets) <= set(rows[0][1]):
            return
        later = later or _find_names(rows, options.targets)
    if later is not None:
        raise DataError(
            f"data.target: {file.path} has no column {options.targets[0]!r} in line {file.skiprows + 1:,}; "
            f"if line {later:,} has the names of the columns, set data.skiprows = {later - 1}"
        )


def _find_names(rows: Sequence[Record], wanted: Sequence[str]) -> int | None:
    """Return the line of a later row that has the names of columns: no numbers, and nothing twice."""
    for number, (line, fields) in enumerate(rows):
        if not set(wanted) <= set(fields) or len(fields) < 2:
            continue
        others = [row for position, (_, row) in enumerate(rows) if position != number]
        again = any(fields[place] in row[place : place + 1] for row in others for place in range(len(fields)))
        if not again and not any(form.fits([field]) for field in fields for form in FORMATS):
            return line
    return None


def _check_single_quotes(rows: Sequence[Record], width: int, file: TextFile) -> None:
    """Raise DataError if single quotes seem to enclose fields with separators in them."""
    for line, fields in rows:
        if len(fields) > width and _has_single_quotes(fields):
            raise DataError(
                f"data: {file.path} has a field in single quotes with the separator in it in line {line:,}; "
                "write double quotes instead"
            )


def _has_single_quotes(fields: Sequence[str]) -> bool:
    """Whether a field starts with a single quote that only a later one ends."""
    started = False
    for text in map(str.strip, fields):
        if started and text[-1:] == "'" and (text == "'" or text[0] != "'"):
            return True
        started |= text[:1] == "'" and (text == "'" or text[-1] != "'")
    return False


def _describe_misfit(file: TextFile, misfit: Record, width: int, dialect: Dialect) -> str:
    """Return the message about a row with more or fewer fields than there are columns."""
    line, fields = misfit
    advice = "correct that line"
    if dialect.sep != WHITESPACE and dialect.quoting:
        advice += f", or put fields that contain {dialect.sep!r} in double quotes"
        if _has_single_quotes(fields):
            advice += "; single quotes do not enclose fields"
        if any('"' in field or "\n" in field for field in fields):
            advice += "; if double quotes do not enclose fields, set data.quoting = false"
    count, columns = (
        f"{n} {word}{'s' * (n != 1)}" for n, word in ((len(fields), "field"), (width, "column"))
    )
    return f"data: {file.path} has {count} in line {line:,}, but {columns}: {advice}"


def _suggest_start(file: TextFile, lines: Sequence[str], rows: Sequence[Record], width: int) -> str:
    """Return the end of a message if other lines seem to come before the header."""
    start = lines[0].lstrip()[:1]
    if start in COMMENTS and file.comment is None:
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


def _complete_records(lines: list[str], dialect: Dialect, skipped: int, complete: bool) -> list[Record]:
    """Return the rows in `lines`; without the last one if the lines may end within it."""
    rows = list(dialect.records(lines, skipped))
    return rows if complete or len(rows) < 3 else rows[:-1]


def _find_separator(lines: list[str], file: TextFile, dialect: Dialect, complete: bool) -> str:
    """Return the separator that divides the most rows into as many fields as the header has, at least two."""
    found: dict[str, tuple[float, int]] = {}
    for sep in SEPARATORS:
        rows = _complete_records(lines, replace(dialect, sep=sep), 0, complete)
        header, *widths = [len(fields) for _, fields in rows] or [0]
        if header > 1:
            fitting = max(widths.count(header), len(widths) * (set(widths) == {header + 1}))
            found[sep] = (fitting / max(1, len(widths)), header)
    if not found:
        if _fits_blanks(lines):
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
    given = [composed(name.strip(BLANKS)) for name in given]
    taken = set(given)
    used: set[str] = set()
    for number, wanted in enumerate(given):
        name = wanted or f"Unnamed: {number}"
        suffix = 1
        while name in used or (name != wanted and name in taken):
            name, suffix = f"{wanted or f'Unnamed: {number}'}.{suffix}", suffix + 1
        names.append(name)
        used.add(name)
        if not wanted:
            unnamed.add(name)
        elif name != wanted:
            renamed[name] = wanted
    return names, unnamed, renamed


def _toml(text: str) -> str:
    return '"\\t"' if text == "\t" else f'"{text}"'
