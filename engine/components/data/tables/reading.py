"""Reads a table with pandas: CSV and its relatives, Parquet and Feather."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from torchconsole.engine.components.data.tables.layout import Layout, find_layout
from torchconsole.engine.components.data.tables.number_format import NumberFormat, find_number_format
from torchconsole.engine.components.data.tables.options import CSV, WHITESPACE, TableOptions
from torchconsole.engine.components.data.tables.text_file import TextFile, import_pyarrow, reading
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import first_line, printable

BINARY = {".parquet": "Parquet", ".pq": "Parquet", ".feather": "Feather", ".arrow": "Feather"}
"""Ends of file names that are not CSV -> the source that reads them."""


@dataclass(frozen=True)
class Table:
    """A table as it is written. Its frame has columns of numbers, booleans, dates and text.

    A column of text keeps every value, such as "None" and "?"; only an empty field is "" in a CSV file, and
    missing in other files.
    """

    path: Path
    frame: Any
    """A pandas.DataFrame with rows from 0 and unique column names."""
    locate: Callable[[int], str]
    """Returns where row `n` is in the file, such as "line 5"."""
    number_format: NumberFormat = field(default_factory=NumberFormat)
    """How numbers in columns of text are written."""
    unnamed: Collection[str] = ()
    """Columns without a name in the file."""
    renamed: dict[str, str] = field(default_factory=dict)
    """New name -> name in the file, of columns whose name is not unique."""
    padded: dict[str, str] = field(default_factory=dict)
    """Column of numbers -> a value with leading zeros in it."""
    categories: Collection[str] = ()
    """Columns of numbers that the file declares as categories."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Columns of other values, such as lists -> their type."""
    notes: list[str] = field(default_factory=list)
    from_header: bool = True
    """Whether the names of the columns are in the file."""


def read_table(path: Path, options: TableOptions) -> Table:
    """Read the file, as a CSV, Parquet or Feather file by the type of `options`.

    Raises DataError for a file that cannot be read as such, or without rows.
    """
    if isinstance(options, CSV):
        if name := BINARY.get(path.suffix.lower()):
            raise DataError(f'data.name: {path.name} is not a CSV file: set data.name = "{name}"')
        table = _read_csv(path, options)
    else:
        table = _read_arrow(path, type(options).__name__)
    if table.frame.empty:
        raise DataError(f"data: {path} has no rows")
    return table


def _read_csv(path: Path, options: CSV) -> Table:
    file = TextFile(path, options.encoding, options.comment, options.quoting, options.skiprows)
    layout = find_layout(file, options)
    frame = _read_frame(layout, options, NumberFormat(options.decimal or ".", options.thousands))
    _check_rows(layout, frame)
    given = (options.decimal, options.thousands)
    samples = dict(zip(layout.names, zip(*layout.sample, strict=True), strict=True))
    as_text = {*options.categorical, *options.dates}
    found, notes = find_number_format(frame, samples, given, as_text, path.name)
    if found.decimal != (options.decimal or ".") and any(
        kind.kind == "f" for kind in frame.dtypes if _plain(kind)
    ):
        # pandas took the dots of these columns for decimal points.
        frame = _read_frame(layout, options, found)
    return Table(
        path=path,
        frame=frame,
        locate=lambda row: f"line {layout.line_of_row(row):,}",
        number_format=found,
        unnamed=layout.unnamed,
        renamed=layout.renamed,
        padded=_find_padded(frame, samples),
        notes=[*layout.notes, *notes],
        from_header=options.header,
    )


def _read_frame(layout: Layout, options: CSV, numbers: NumberFormat) -> Any:
    """Let pandas read the rows; columns with anything but numbers or booleans become text without blanks."""
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
                index_col=False,
                dtype={name: str for name in layout.names if name in options.as_written},
                na_filter=False,
                skipinitialspace=True,
                low_memory=False,
                decimal=numbers.decimal,
                thousands=numbers.thousands,
            )
    except (ValueError, OverflowError, csv.Error) as error:
        layout.check_widths()
        _check_quotes(layout)
        raise DataError(f"data: {layout.file.path} cannot be read as CSV: {first_line(error)}") from error
    for name in text_columns(frame):
        if pandas.api.types.infer_dtype(frame[name]) == "integer":
            frame[name] = frame[name].astype("float64")  # whole numbers of more than 64 bits
        else:
            frame[name] = frame[name].str.strip()
    return frame


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


def _find_padded(frame: Any, samples: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the columns that pandas read as whole numbers although some are written with leading zeros."""
    found = {}
    for name, values in samples.items():
        if _plain(frame[name].dtype) and frame[name].dtype.kind in "iu":
            padded = next((v.strip() for v in values if v.strip()[:1] == "0" and len(v.strip()) > 1), None)
            if padded is not None:
                found[name] = padded
    return found


def _read_arrow(path: Path, name: str) -> Table:
    """Read a Parquet or Feather file. Categories become text, and columns keep their names as text."""
    import pandas

    pyarrow = import_pyarrow(path)
    with reading(path):
        try:
            frame = getattr(pandas, f"read_{name.lower()}")(path)
            declared = _declared_categories(path) if name == "Parquet" else set()
        except (ValueError, KeyError, pyarrow.ArrowException) as error:
            raise DataError(f"data.root: {path} cannot be read as {name}: {first_line(error)}") from error
    frame, notes = _index_as_columns(frame, path)
    frame.columns = [str(column) for column in frame.columns]
    for column in frame.columns[frame.columns.duplicated()]:
        raise DataError(f"data: {path.name} has several columns called {column!r}; rename them")
    categories = {
        column
        for column, dtype in frame.dtypes.items()
        if (column in declared or isinstance(dtype, pandas.CategoricalDtype))
        and pandas.api.types.is_numeric_dtype(getattr(dtype, "categories", frame[column]).dtype)
    }
    for column in frame.columns:
        frame[column] = _plain_column(frame[column])
    unusable = {
        column: type(value).__name__
        for column in text_columns(frame)
        if not isinstance(value := next(iter(frame[column].dropna()), ""), str)
    }
    return Table(
        path,
        frame,
        lambda row: f"row {row + 1:,}",
        categories=categories,
        unusable=unusable,
        notes=notes,
    )


def _declared_categories(path: Path) -> set[str]:
    """Return the columns that pandas has written as categories; Parquet itself has none of numbers."""
    from pyarrow import parquet  # type: ignore[import-untyped,unused-ignore]

    written = parquet.read_schema(path).pandas_metadata or {}
    return {
        str(column["name"])
        for column in written.get("columns", [])
        if column.get("pandas_type") == "categorical"
    }


def _index_as_columns(frame: Any, path: Path) -> tuple[Any, list[str]]:
    """Return the frame with its named index as columns, and a note if it has an index without a name.

    A copy of a column of the same name, as set_index(drop=False) makes, is left out. Raises DataError for
    another index with the name of a column.
    """
    import pandas

    index, columns = frame.index, list(map(str, frame.columns))
    names = [str(name) for name in index.names if name is not None]
    if not names:
        counts = isinstance(index, pandas.RangeIndex)
        example = index[0] if len(index) else ""
        note = (
            f"the index of {path.name} (such as {printable(str(example))!r}) has no name and is not used; "
            'to use it, write the file from frame.rename_axis("name")'
        )
        return frame.reset_index(drop=True), [] if counts else [note]
    if index.nlevels == 1 and names[0] in columns and columns.count(names[0]) == 1:
        values = frame[frame.columns[columns.index(names[0])]]
        if values.reset_index(drop=True).equals(index.to_series().reset_index(drop=True)):
            return frame.reset_index(drop=True), []
    for name in names:
        if name in columns:
            raise DataError(
                f"data: the index and a column of {path.name} are both called {name!r}; rename one of them, "
                f'as with frame.rename_axis("{name}_index"), or leave the index out with '
                "frame.reset_index(drop=True), and write the file again"
            )
        if names.count(name) > 1:
            raise DataError(
                f"data: {path.name} has several index levels called {name!r}; rename them with "
                "frame.rename_axis, and write the file again"
            )
    return frame.reset_index(), []


def _plain_column(column: Any) -> Any:
    """Return a column as numbers, booleans, dates or text, missing values included.

    Values of other types, such as lists, stay as they are.
    """
    import pandas

    types = pandas.api.types
    if isinstance(column.dtype, pandas.CategoricalDtype):
        return column.astype(object).map(str, na_action="ignore")
    if types.is_timedelta64_dtype(column.dtype):
        return column.dt.total_seconds()
    if types.is_bool_dtype(column.dtype) and not column.isna().any():
        return column.astype(bool)
    if types.is_numeric_dtype(column.dtype) or types.is_bool_dtype(column.dtype):
        return column if _plain(column.dtype) else column.astype("float64")
    if types.is_datetime64_any_dtype(column.dtype):
        return column
    inferred = types.infer_dtype(column, skipna=True)
    if inferred in ("decimal", "integer", "floating", "mixed-integer-float", "boolean"):
        return pandas.Series(
            [np.nan if value is None or value is pandas.NA else float(value) for value in column]
        )
    if inferred == "date":
        return pandas.to_datetime(column)
    return column


def text_columns(frame: Any) -> list[str]:
    """Return the names of the columns that are neither numbers, booleans nor dates."""
    import pandas

    types = pandas.api.types
    return [
        name
        for name in frame.columns
        if not types.is_numeric_dtype(frame[name].dtype)
        and not types.is_datetime64_any_dtype(frame[name].dtype)
    ]


def _plain(dtype: Any) -> bool:
    """Whether this is a type of NumPy's, which has no missing values except nan."""
    return isinstance(dtype, np.dtype)
