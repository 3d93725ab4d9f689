"""Reads the columns that a run was trained on, with the categories of that time, from a table of today."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from torchconsole.engine.components.data.data_record import FeatureRecord
from torchconsole.engine.components.data.tables.columns import MAX_SHOWN, Column, inspect_column
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.table import Table
from torchconsole.engine.components.data.tables.values import read_numbers, read_texts
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import did_you_mean


def recorded_columns(
    table: Table, recorded: Sequence[FeatureRecord], options: TableOptions, *, with_targets: bool = True
) -> list[Column]:
    """Return the columns of the record, found by their names, in its order.

    The table may lack the targets unless `with_targets`.

    Raises DataError, in one message, for all that are missing or have values the run was not trained on.
    """
    names = list(map(str, table.frame.columns))
    wanted = [*(options.targets if with_targets else ()), *(feature.name for feature in recorded)]
    problems = list(_missing(wanted, names))
    columns = []
    for feature in recorded:
        if feature.name in names:
            column, problem = _read(table, feature, options)
            columns.append(column)
            problems += [problem] if problem else []
    if problems:
        raise DataError(
            f"data: {table.path.name} does not fit the run: {'; '.join(problems)}. Correct the file, or "
            "start a new run with torchconsole train"
        )
    return columns


def record_columns(columns: Sequence[Column]) -> list[FeatureRecord]:
    """Return what to record about the columns that are used, after `encode_features`."""
    return [
        FeatureRecord(
            name=column.name,
            kind=column.kind,
            categories=list(column.labels) if column.kind == "categorical" else [],
        )
        for column in columns
        if column.kind in ("numeric", "date", "categorical")
    ]


def refuse_gaps(columns: Sequence[Column], locate: Callable[[int], str], path: Path) -> None:
    """Raise DataError for a value that is missing, for runs that were trained without missing values."""
    for column in columns:
        if column.gaps.any():
            first = locate(int(np.flatnonzero(column.gaps)[0]))
            raise DataError(
                f"column {column.name!r} of {path.name} has no value in {first}, and the run was trained "
                "without missing values; fill it in, or remove the row"
            )


def _missing(wanted: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """Yield what is missing: a text for each column that has a similar name, and one for all others."""
    others = [name for name in names if name not in wanted]
    hints = {name: did_you_mean(name, others) for name in wanted if name not in names}
    unlike = [name for name, hint in hints.items() if not hint.startswith(",")]
    yield from (f"it has no column {name!r}{hint}" for name, hint in hints.items() if name not in unlike)
    if unlike:
        yield f"it has no column{'s' * (len(unlike) > 1)} {', '.join(map(repr, unlike))}{hints[unlike[0]]}"


def _read(table: Table, feature: FeatureRecord, options: TableOptions) -> tuple[Column, str]:
    """Return a column, and what is wrong with it, if anything."""
    name = feature.name
    if feature.kind == "numeric":
        values, odd = read_numbers(table, name, options.na_values)
        if values is None or odd:
            return Column(name, "refused"), f"column {name!r} had numbers, but has {_shown(odd)} now"
        return Column(name, "numeric", values=values), ""
    if feature.kind == "date":
        column = inspect_column(table, name, options)
        return column, "" if column.kind == "date" else f"column {name!r} had dates, but has none now"
    codes, labels = read_texts(table, name, options.na_values)
    known = {label: code for code, label in enumerate(feature.categories)}
    new = [code for code, label in enumerate(labels) if label not in known]
    if new:
        where = table.locate(int(np.flatnonzero(np.isin(codes, new))[0]))
        unknown = _shown([labels[code] for code in new])
        return Column(name, "refused"), (
            f"column {name!r} has {unknown} (the first in {where}), which the run was not trained on "
            f"(its values were {_shown(feature.categories)})"
        )
    renumbered = np.array([*(known[label] for label in labels), -1])  # the last one is for -1
    return Column(name, "categorical", codes=renumbered[codes], labels=feature.categories), ""


def _shown(values: Sequence[str]) -> str:
    more = f" and {len(values) - MAX_SHOWN:,} more" if len(values) > MAX_SHOWN else ""
    return (", ".join(map(repr, values[:MAX_SHOWN])) or "other values") + more
