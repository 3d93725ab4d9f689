"""Reads a table from a Parquet or Feather file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from torchconsole.engine.components.data.tables.number_detection import find_number_format
from torchconsole.engine.components.data.tables.options import TableOptions, composed
from torchconsole.engine.components.data.tables.table import (
    EXACT,
    Table,
    composed_texts,
    find_padded,
    is_plain,
    numeric_texts,
    text_columns,
)
from torchconsole.engine.components.data.tables.text_file import import_pyarrow, reading
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import first_line, printable


def read_arrow(path: Path, options: TableOptions) -> Table:
    """Read a Parquet or Feather file. Categories become text, and columns keep their names as text."""
    import pandas

    pyarrow, name = import_pyarrow(path), type(options).__name__
    with reading(path):
        try:
            # Whole numbers beside gaps would lose digits as pandas' floats.
            frame = getattr(pandas, f"read_{name.lower()}")(path, dtype_backend="numpy_nullable")
            declared = _declared_categories(path) if name == "Parquet" else set()
        except (ValueError, KeyError, pyarrow.ArrowException) as error:
            raise DataError(f"data.root: {path} cannot be read as {name}: {first_line(error)}") from error
    frame, notes = _index_as_columns(frame, path)
    frame.columns = [composed(str(column)) for column in frame.columns]
    for column in frame.columns[frame.columns.duplicated()]:
        raise DataError(f"data: {path.name} has several columns called {column!r}; rename them")
    categories = {
        column
        for column, dtype in frame.dtypes.items()
        if (column in declared or isinstance(dtype, pandas.CategoricalDtype))
        and pandas.api.types.is_numeric_dtype(getattr(dtype, "categories", frame[column]).dtype)
    }
    as_text = {name for name, dtype in frame.dtypes.items() if isinstance(dtype, pandas.CategoricalDtype)}
    for column in frame.columns:
        frame[column] = _plain_column(frame[column], is_target=column in options.targets)
    unusable = {
        column: type(value).__name__
        for column in text_columns(frame)
        if not isinstance(value := next(iter(frame[column].dropna()), ""), str)
    }
    texts = numeric_texts(frame, options, others={*as_text, *unusable})
    found, numbers = find_number_format(
        texts,
        options,
        lambda name, value: f"row {frame[name].eq(value).fillna(False).to_numpy().argmax() + 1:,}",
        path.name,
    )
    return Table(
        path,
        frame,
        lambda row: f"row {row + 1:,}",
        number_format=found,
        padded=find_padded(frame, {name: () for name in frame.columns if name not in unusable}),
        categories=categories,
        unusable=unusable,
        notes=[*notes, *numbers],
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


def _plain_column(column: Any, *, is_target: bool) -> Any:
    """Return a column as numbers, booleans, dates or text, missing values included.

    A target of booleans or whole numbers is text beside gaps, because floats would be amounts. Values of
    other types, such as lists, stay as they are.
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
        return column if is_plain(column.dtype) else _without_nulls(column, is_target=is_target)
    if types.is_datetime64_any_dtype(column.dtype):
        return column
    inferred = types.infer_dtype(column, skipna=True)
    if inferred == "decimal" and all(value.as_tuple().exponent == 0 for value in column.dropna()):
        return _whole_decimals(column, is_target=is_target)
    if inferred in ("decimal", "integer", "floating", "mixed-integer-float", "boolean"):
        return pandas.Series(
            [np.nan if value is None or value is pandas.NA else float(value) for value in column]
        )
    if inferred == "date":
        return pandas.to_datetime(column)
    return composed_texts(column) if inferred == "string" else column


def _whole_decimals(column: Any, *, is_target: bool) -> Any:
    """Return decimals without fractions as whole numbers, as text if these need more than 64 bits."""
    import pandas

    wholes = [pandas.NA if pandas.isna(value) else int(value) for value in column]
    try:
        return _without_nulls(pandas.Series(wholes, dtype="Int64"), is_target=is_target)
    except (OverflowError, TypeError):
        return pandas.Series(wholes, dtype=object).map(str, na_action="ignore")


def _without_nulls(column: Any, *, is_target: bool) -> Any:
    """Return numbers in a type of NumPy's: beside gaps as floats, or as text; see `_plain_column`."""
    kind = column.dtype.kind
    if not column.isna().any():
        return column.astype(getattr(column.dtype, "numpy_dtype", "float64"))
    if kind in "biu" and (is_target or (kind != "b" and (column.abs() >= EXACT).any())):
        return column.astype(object).map(str, na_action="ignore")
    return column.astype("float64")
