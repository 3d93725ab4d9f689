"""Reads a table with pandas: CSV and its relatives, Parquet and Feather."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from torchconsole.engine.components.data.tables.arrow_file import read_arrow
from torchconsole.engine.components.data.tables.layout import Layout, find_layout
from torchconsole.engine.components.data.tables.number_detection import (
    GROUPED,
    HAS_DIGIT,
    find_number_format,
    fitting_formats,
    stated_format,
)
from torchconsole.engine.components.data.tables.number_format import FORMATS, GAPS, NumberFormat
from torchconsole.engine.components.data.tables.options import CSV, WHITESPACE, TableOptions
from torchconsole.engine.components.data.tables.table import (
    EXACT,
    Table,
    composed_texts,
    find_padded,
    is_plain,
    numeric_texts,
    same_in_float64,
    text_columns,
    used_as_numbers,
)
from torchconsole.engine.components.data.tables.text_file import TextFile
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import first_line

BINARY = {".parquet": "Parquet", ".pq": "Parquet", ".feather": "Feather", ".arrow": "Feather"}
"""Ends of file names that are not CSV -> the source that reads them."""


def read_table(path: Path, options: TableOptions) -> Table:
    """Read the file, as a CSV, Parquet or Feather file by the type of `options`.

    Raises DataError for a file that cannot be read as such, or without rows.
    """
    if isinstance(options, CSV):
        if name := BINARY.get(path.suffix.lower()):
            raise DataError(f'data.name: {path.name} is not a CSV file: set data.name = "{name}"')
        table = _read_csv(path, options)
    else:
        table = read_arrow(path, options)
    if table.frame.empty:
        raise DataError(f"data: {path} has no rows")
    return table


def _read_csv(path: Path, options: CSV) -> Table:
    file = TextFile(path, options.encoding, options.comment, options.quoting, options.skiprows)
    file.check_not_utf8()
    layout = find_layout(file, options)
    frame = _read_frame(layout, {name: str for name in layout.names if name in options.as_written})
    _check_rows(layout, frame)
    samples = dict(zip(layout.names, zip(*layout.sample, strict=True), strict=True))
    if reread := _unsure_numbers(frame, samples, options):
        frame[reread] = _read_frame(layout, dict.fromkeys(reread, str), reread)

    def locate(name: str, value: str) -> str:
        row = int((frame[name] == value).to_numpy().argmax())
        return f"line {layout.line_of_row(row):,}"

    texts = numeric_texts(frame, options)
    commas = layout.dialect.sep == ","
    found, notes = find_number_format(texts, options, locate, path.name, commas_separate=commas)
    for name in texts if reread or found != NumberFormat() else ():
        # Columns of such numbers alone are numbers, as pandas would have read them.
        if name not in options.as_written and (numbers := _as_numbers(frame[name], found)) is not None:
            frame[name] = numbers
    return Table(
        path=path,
        frame=frame,
        locate=lambda row: f"line {layout.line_of_row(row):,}",
        lines=layout.lines,
        number_format=found,
        unnamed=layout.unnamed,
        renamed=layout.renamed,
        padded=find_padded(frame, samples | _reread_padded(layout, frame, samples)),
        notes=[*layout.notes, *notes],
        from_header=options.header,
    )


def _read_frame(layout: Layout, types: dict[str, Any], columns: Collection[str] | None = None) -> Any:
    """Let pandas read the columns, all by default.

    Those with anything but numbers with points, or booleans, become text without blanks around it.
    """
    import pandas

    try:
        with layout.file.open() as text:
            if layout.header:
                next(layout.dialect.records(text), None)
            frame = pandas.read_csv(
                text,
                sep=layout.dialect.sep,
                quoting=layout.dialect.options["quoting"],
                escapechar=layout.dialect.escapechar,
                header=None,
                names=layout.names,
                usecols=columns,
                index_col=False,
                dtype=types,
                na_filter=False,
                skipinitialspace=True,
                low_memory=False,
            )
    except (ValueError, OverflowError, csv.Error) as error:
        layout.check_widths()
        _check_quotes(layout)
        raise DataError(f"data: {layout.file.path} cannot be read as CSV: {first_line(error)}") from error
    for name in text_columns(frame):
        if pandas.api.types.infer_dtype(frame[name]) == "integer":
            frame[name] = frame[name].map(str)  # whole numbers of more than 64 bits
        else:
            frame[name] = composed_texts(frame[name].str.strip())
    return frame


def _reread_padded(
    layout: Layout, frame: Any, samples: dict[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the texts of columns of whole numbers that may have leading zeros after the sample.

    That is so if all numbers in the sample are as long as the longest one, but there are smaller ones.
    """
    unsure = []
    for name, sample in samples.items():
        if _kind(frame[name]) in ("i", "u") and (low := int(frame[name].min())) >= 0:
            longest = len(str(frame[name].max()))
            if len(str(low)) < longest and {len(text.strip()) for text in sample} == {longest}:
                unsure.append(name)
    if not unsure:
        return {}
    texts = _read_frame(layout, dict.fromkeys(unsure, str), unsure)
    return {name: tuple(texts[name].unique()) for name in unsure}


def _as_numbers(column: Any, form: NumberFormat) -> Any:
    """Return a column of text as numbers (N,) float64; None if some have no number, or would lose digits."""
    import pandas

    codes, texts = pandas.factorize(column)
    numbers = form.parse(texts.tolist())
    if np.isnan(numbers).any() or same_in_float64(column, form) is not None:
        return None
    return numbers[codes]


def _kind(column: Any) -> str:
    """Return NumPy's letter for the type of a column, empty if it is none of NumPy's."""
    return str(column.dtype.kind) if is_plain(column.dtype) else ""


def _unsure_numbers(frame: Any, samples: dict[str, tuple[str, ...]], options: TableOptions) -> list[str]:
    """Return the columns that pandas took for numbers with points, if that may be wrong.

    That is so if the options or other columns say that numbers are written otherwise, if all points that are
    seen may separate thousands, or if a column has more digits than float64.
    """
    used = used_as_numbers(frame, options)
    numbers = [name for name in frame.columns if name in used and _kind(frame[name]) == "f"]
    if not numbers:
        return []
    usual = NumberFormat()
    if stated_format(options) != usual:
        return numbers
    otherwise = any(
        not usual.fits(digits) and fitting_formats(digits, FORMATS)
        for values in numeric_texts(frame, options).values()
        if (digits := list(filter(HAS_DIGIT, values)))
    )
    if options.decimal is None:
        known = ([text.strip() for text in samples[name]] for name in numbers)
        otherwise |= all(
            GROUPED.fits([text for text in texts if text.lower() not in GAPS]) for texts in known
        )
    many_digits = [name for name in numbers if (frame[name].abs() >= EXACT).any()]
    return numbers if otherwise else many_digits


def _check_rows(layout: Layout, frame: Any) -> None:
    """Raise DataError for rows with too few fields, which pandas fills up, and for quotes that do not match.

    The file is read once more only if its last column has empty fields, or a field has quotes or line ends.
    """
    texts = text_columns(frame)
    if layout.names[-1] in texts and (frame[layout.names[-1]] == "").any():
        layout.check_widths()
    if any(frame[name].str.contains(r'["\n]').any() for name in texts):
        _check_quotes(layout)


def _check_quotes(layout: Layout) -> None:
    """Raise DataError if text follows the end of a quoted field, as after a quote that was never closed."""
    file, dialect = layout.file, layout.dialect
    if dialect.sep == WHITESPACE or not dialect.quoting:
        return
    blanks = re.compile(rf'" +(?=[\r\n{re.escape(dialect.sep)}])')
    with file.open() as text:
        reader = csv.reader((blanks.sub('"', line) for line in text), **dialect.options, strict=True)
        start = file.skiprows + 1
        try:
            for _ in reader:
                start = file.skiprows + reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"data: {file.path} has a quoted field in line {start:,} that does not end as it should: "
                'write a double quote within it twice (""), or set data.escapechar = "\\\\" if it is written '
                'as \\", or data.quoting = false if double quotes do not enclose fields'
            ) from error
