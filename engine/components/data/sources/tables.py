"""Tables: CSV, Parquet and Feather files whose columns are targets, numbers, categories or dates."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from torchconsole.engine.components.data.data_record import FeatureRecord
from torchconsole.engine.components.data.datasets import Splits
from torchconsole.engine.components.data.tables.columns import Column, inspect_column
from torchconsole.engine.components.data.tables.encoding import (
    encode_features,
    gives_target_away,
    select_rows,
)
from torchconsole.engine.components.data.tables.options import CSV, Feather, Parquet, TableOptions
from torchconsole.engine.components.data.tables.reading import read_table
from torchconsole.engine.components.data.tables.recorded import record_columns, recorded_columns
from torchconsole.engine.components.data.tables.remedies import leave_out, mark_as_gaps, toml_list
from torchconsole.engine.components.data.tables.table import Table
from torchconsole.engine.components.data.tables.target_columns import read_targets
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.config.data_location import data_file
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.protocol.reports import DataColumn
from torchconsole.engine.text import did_you_mean

OPTIONS: dict[str, type[TableOptions]] = {"CSV": CSV, "Parquet": Parquet, "Feather": Feather}
"""Name of each source -> the keys that it takes."""


def open_table(
    kind: type[TableOptions],
    config: DataConfig,
    report: ReportPhase,
    recorded: Sequence[FeatureRecord] = (),
) -> Splits:
    """Open the file `data.root`, with the features that a run has `recorded`, if any.

    Raises DataError for columns that are missing or cannot be used.
    """
    options: TableOptions = call("data", kind, {}, config.arguments)
    table = read_table(data_file(config.name, config.root), options)
    file = table.path.name
    if recorded:
        columns = recorded_columns(table, recorded, options)
    else:
        columns = [inspect_column(table, name, options) for name in _choose_features(table, options)]
        _check_usable(columns, table, options)
    task = None if config.task == "auto" else config.task
    targets = read_targets(table, options, config)
    rows, notes = select_rows(table, targets, columns, options)
    notes += [
        f"column {column.name!r} gives the target away: each of its values goes with one value of "
        f"{options.targets[0]!r}; to leave it out, {leave_out([column.name], options)}"
        for column in columns
        if column.kind in ("numeric", "categorical") and gives_target_away(column, targets, rows)
    ]
    dataset, described = encode_features(
        columns, rows, targets.select(rows, task), options, file, keep_categories=bool(recorded)
    )
    dropped = [
        DataColumn(name=name, role="dropped", detail="data.drop")
        for name in options.drop
        if name in table.frame.columns
    ]
    numbers, locate = np.flatnonzero(rows), table.locate
    order = {name: position for position, name in enumerate(table.frame.columns)}
    return Splits(
        replace(dataset, locate=lambda row: f"{locate(int(numbers[row]))} of {file}"),
        class_names=targets.class_names,
        untransformed=targets.untransformed,
        unscaled=torch.arange(dataset.width) >= dataset.inputs.shape[1],
        fill_missing=options.missing == "mean",
        notes=[*table.notes, *_notes(table, columns, options), *targets.notes, *notes],
        columns=sorted([*targets.columns, *described, *dropped], key=lambda column: order[column.name]),
        features=record_columns(columns),
    )


SOURCES = {name: partial(open_table, options) for name, options in OPTIONS.items()}


def _choose_features(table: Table, options: TableOptions) -> list[str]:
    """Return the features. Raises DataError for names that are not columns or have several roles."""
    file, names = table.path.name, list(table.frame.columns)
    given = {
        "target": options.targets,
        "features": options.features or (),
        "drop": options.drop,
        "categorical": options.categorical,
        "dates": options.dates,
    }
    for key, listed in given.items():
        for name in listed:
            if name not in names:
                raise DataError(f"data.{key}: {file} has no column {name!r}{_suggest(name, table)}")
    _check_twins(table, options)
    left = [name for name in names if name not in {*options.targets, *options.drop}]
    features = left if options.features is None else list(options.features)
    if not features:
        raise DataError(f"data.features: {file} has no columns other than the target")
    if both := set(options.targets) & set(features):
        raise DataError(f"data.features: {min(both)!r} is also a target; remove it from one of them")
    for key in ("categorical", "dates"):
        if unknown := set(given[key]) - set(features):
            raise DataError(
                f"data.{key}: {min(unknown)!r} is not a feature; add it to data.features, or remove it"
            )
    return features


def _suggest(name: str, table: Table) -> str:
    """Return the end of a message about an unknown column."""
    names = list(map(str, table.frame.columns))
    advice = did_you_mean(name, names)
    if names[1:] and table.from_header and all(re.match(r"[-+]?\.?[0-9]", column) for column in names[:-1]):
        advice += "; if the first line has values and no names, set data.header = false"
    return advice


def _check_twins(table: Table, options: TableOptions) -> None:
    """Raise DataError if a target's name occurs twice in the header, since the other column gives it away."""
    used = table.frame.columns if options.features is None else options.features
    for twin, name in table.renamed.items():
        if name in options.targets and twin in used and twin not in {*options.targets, *options.drop}:
            raise DataError(
                f"data.target: {table.path.name} has several columns called {name!r}; the first one is the "
                f"target: to leave out the other, {leave_out([twin], options)}"
            )


def _check_usable(columns: Sequence[Column], table: Table, options: TableOptions) -> None:
    """Raise DataError for columns that need a decision, all in one message, and if no column is left."""
    file = table.path.name
    if refused := [column for column in columns if column.kind == "refused"]:
        named = "; ".join(f"column {column.name!r} {column.detail}" for column in refused)
        raise DataError(f"data.features: in {file}, {named}: {_remedies(refused, options)}")
    if all(column.kind == "dropped" for column in columns):
        reasons = "; ".join(f"{column.name!r} {column.detail}" for column in columns)
        raise DataError(f"data.features: {file} has no column to predict from: {reasons}")


def _remedies(refused: Sequence[Column], options: TableOptions) -> str:
    """Return the keys that use the refused columns, and the one that leaves them out, with their values."""
    additions: dict[str, list[str]] = {}
    for column in refused:
        for key, more in column.remedy.items():
            additions.setdefault(key, []).extend(more)
    gaps = additions.pop("na_values", [])
    keys = [f"data.{key} = {toml_list([*getattr(options, key), *more])}" for key, more in additions.items()]
    if gaps:
        keys.append(mark_as_gaps(list(dict.fromkeys(gaps)), options).removeprefix("set "))
    left_out = leave_out([column.name for column in refused], options)
    which = "it" if len(refused) == 1 else "them"
    if keys:
        return f"set {' and '.join(keys)}, or {left_out.removeprefix('set ')} to leave {which} out"
    return f"{left_out} to leave {which} out"


def _notes(table: Table, columns: Sequence[Column], options: TableOptions) -> list[str]:
    """Return what was decided about columns, a sentence each."""
    notes = [column.note for column in columns if column.note]
    if dropped := [column for column in columns if column.kind == "dropped"]:
        reasons = "; ".join(f"{column.name!r} {column.detail}" for column in dropped)
        left_out = leave_out([column.name for column in dropped], options).removeprefix("set ")
        notes.append(f"columns that are not used: {reasons} ({left_out})")
    names: Collection[str] = {column.name for column in columns}
    for twin, name in table.renamed.items():
        if twin in names:
            notes.append(
                f"several columns are called {name!r}; one of them is called {twin!r} here; "
                f"to leave it out, {leave_out([twin], options)}"
            )
    return notes
