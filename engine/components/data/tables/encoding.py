"""Encodes the features of a table as numbers and categories, and chooses the rows that are used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.tables.columns import (
    FLOAT32_MAX,
    MAX_CATEGORIES,
    MIN_ROWS,
    Column,
    list_categories,
)
from torchconsole.engine.components.data.tables.dataset import TableDataset, check_memory
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.remedies import toml_list
from torchconsole.engine.components.data.tables.table import Table
from torchconsole.engine.components.data.tables.target_columns import Targets
from torchconsole.engine.components.data.tables.values import Floats
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.reports import DataColumn

SAME = 1 - 1e-9
"""Correlation from which on one column is taken for a copy of the other, perhaps in another unit."""


def encode_features(
    columns: Sequence[Column],
    rows: np.ndarray[Any, Any],
    targets: Tensor,
    options: TableOptions,
    file: str,
    *,
    keep_categories: bool = False,
) -> tuple[TableDataset, list[DataColumn]]:
    """Return the rows (N,) bool that are used with their targets (N, ...), and what each column became.

    Numbers come first, in their order, nan if missing; then the categories of each other column, all zero if
    the value is missing. Categories that no row has are left out unless `keep_categories`; `labels` of the
    columns are those that remain. Raises DataError for infinite numbers, and for more inputs than memory can
    hold.
    """
    numbers: list[Floats] = []
    categories: dict[str, Tensor] = {}
    sizes: dict[str, int] = {}
    described = []
    for column in columns:
        if column.kind in ("numeric", "date"):
            assert column.values is not None
            values = column.values[rows]
            if (np.abs(values) > FLOAT32_MAX).any():
                raise DataError(
                    f"data: column {column.name!r} of {file} has values that are infinite or too large for a "
                    "32-bit number; remove or rescale them"
                )
            numbers.append(values.reshape(len(values), -1))
        elif column.kind == "categorical":
            assert column.codes is not None
            codes = column.codes[rows]
            used = np.arange(len(column.labels)) if keep_categories else np.unique(codes[codes >= 0])
            renumbered = np.full(len(column.labels) + 1, -1, dtype=np.int32)  # the last one is for -1
            renumbered[used] = np.arange(len(used))
            categories[column.name] = torch.from_numpy(renumbered[codes])
            sizes[column.name] = len(used)
            column.labels = [column.labels[int(code)] for code in used]
            column.detail = list_categories(column.labels, "value")
        described.append(_describe(column, rows))
    check_memory(len(targets), sum(part.shape[1] for part in numbers), sizes, options, file)
    inputs = np.concatenate(numbers, axis=1) if numbers else np.empty((len(targets), 0))
    dataset = TableDataset(
        torch.from_numpy(inputs), targets, codes=tuple(categories.values()), sizes=tuple(sizes.values())
    )
    return dataset, described


def _describe(column: Column, rows: np.ndarray[Any, Any]) -> DataColumn:
    detail = column.detail
    if column.kind in ("numeric", "date", "categorical") and (gaps := int(column.gaps[rows].sum())):
        detail += f"; {gaps:,} missing"
    role: Any = column.kind
    return DataColumn(name=column.name, role=role, detail=detail)


def gives_target_away(column: Column, targets: Targets, rows: np.ndarray[Any, Any]) -> bool:
    """Whether the values of a column go one to one with those of the only target, as in a copy of it."""
    values = column.codes if column.codes is not None else column.values
    if values is None or values.ndim > 1 or targets.values.ndim > 1:
        return False
    known = rows & ~column.gaps
    if known.sum() < MIN_ROWS:
        return False
    some, wanted = values[known], targets.values[known]
    count = len(np.unique(wanted))
    if wanted.dtype.kind == "f" and count > MAX_CATEGORIES:
        spread = some.std() * wanted.std()
        together = np.mean((some - some.mean()) * (wanted - wanted.mean()))
        return bool(spread > 0 and abs(together / spread) > SAME)
    pairs = np.unique(np.stack([some, wanted]), axis=1)
    return count > 1 and pairs.shape[1] == count == len(np.unique(some))


def select_rows(
    table: Table, targets: Targets, columns: Sequence[Column], options: TableOptions, *, is_text: bool = False
) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], list[str]]:
    """Return which rows (N,) to use, and notes on what was done about missing values.

    Texts (`is_text`) have no mean that could fill them.

    Rows without a target are left out unless `data.missing` is error, since there is nothing to fill in.
    Raises DataError if the policy does not allow what is missing.
    """
    file, count, policy = table.path.name, len(table.frame), options.missing
    target_gaps = dict(zip(options.targets, np.atleast_2d(targets.gaps.T), strict=True))
    feature_gaps = {
        column.name: column.gaps for column in columns if column.kind not in ("dropped", "refused")
    }
    if policy == "error":
        for name, gaps in (target_gaps | feature_gaps).items():
            if gaps.any():
                may_fill = not is_text and name not in target_gaps
                raise DataError(_describe_missing(table, name, gaps, may_fill=may_fill))
    without_target = np.any(list(target_gaps.values()), axis=0)
    incomplete = np.any(list(feature_gaps.values()), axis=0) if feature_gaps else np.zeros(count, bool)
    if policy == "drop":
        left_out = without_target | incomplete
        if left_out.all():
            raise DataError(
                f"data.missing: 'drop' leaves no rows, because each of the {count:,} rows of {file} has "
                'missing values; set data.missing = "mean", or leave out the columns with the most of them'
            )
        note = f"{int(left_out.sum()):,} of {count:,} rows have missing values and are left out"
        return ~left_out, [note] if left_out.any() else []
    if without_target.all():
        raise DataError(f"data.target: no row of {file} has a value in {toml_list(options.targets)}")
    notes = []
    if without_target.any():
        notes.append(f"{int(without_target.sum()):,} of {count:,} rows have no target and are left out")
    if filled := int((incomplete & ~without_target).sum()):
        has_categories = any(column.codes is not None and column.gaps.any() for column in columns)
        notes.append(
            f"{filled:,} of {count:,} rows have missing values, filled with the mean of the training set"
            + "; a missing category sets none of its inputs" * has_categories
        )
    return ~without_target, notes


def _describe_missing(table: Table, name: str, gaps: np.ndarray[Any, Any], *, may_fill: bool) -> str:
    first = int(np.flatnonzero(gaps)[0])
    written = table.frame[name].iloc[first]
    shown = f" ({written!r})" if isinstance(written, str) and written else ""
    count = int(gaps.sum())
    advice = 'set data.missing = "drop" to leave out such rows'
    if may_fill:
        advice += ', or data.missing = "mean" to fill them'
    return (
        f"data: {table.path.name} has {count:,} missing value{'s' * (count > 1)} in column {name!r}, "
        f"the first in {table.locate(first)}{shown}; {advice}"
    )
