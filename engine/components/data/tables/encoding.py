"""Encodes the columns of a table: features as numbers or one-hot categories, targets as labels or amounts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import UntransformedTargets
from torchconsole.engine.components.data.tables.columns import (
    MAX_CATEGORIES,
    MIN_ROWS,
    MOST_CATEGORIES,
    ROWS_PER_CATEGORY,
    Column,
    Floats,
    read_numbers,
    read_texts,
    toml_list,
)
from torchconsole.engine.components.data.tables.dataset import TableDataset, check_memory
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.reading import Table
from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.reports import DataColumn
from torchconsole.engine.text import printable

MAX_NAMED = 8
"""Number of categories that are listed for a column."""

SAME = 1 - 1e-9
"""Correlation from which on one column is taken for a copy of the other, perhaps in another unit."""

TRANSFORMED = "changed by data.target_transform"
"""What is said about a target column that is transformed."""

FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass
class Targets:
    """The target columns: amounts (N,) or (N, K) float64 with nan for gaps, or labels with -1 for them."""

    values: np.ndarray[Any, Any]
    class_names: list[str]
    columns: list[DataColumn]
    untransformed: UntransformedTargets | None = None
    """For `data.target_transform`: what `values` are then."""
    whole: bool = False
    """Whether untransformed values are whole numbers, also as they are written."""

    @property
    def gaps(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which targets are missing, (N,) or (N, K)."""
        return np.isnan(self.values) if self.values.dtype.kind == "f" else np.asarray(self.values < 0)

    def select(self, rows: np.ndarray[Any, Any], task: TaskType | None) -> Tensor:
        """Return the targets of `rows` (N,) bool; several whole numbers are int64, as they may be labels."""
        values = self.values[rows]
        if self.untransformed is not None:
            return torch.from_numpy(values.astype(np.int64) if self.whole else values)
        whole = task != "regression" and values.ndim == 2 and not (values % 1).any()
        return torch.from_numpy(values.astype(np.int64) if whole else values)


def encode_features(
    columns: Sequence[Column], rows: np.ndarray[Any, Any], targets: Tensor, options: TableOptions, file: str
) -> tuple[TableDataset, list[DataColumn]]:
    """Return the rows (N,) bool that are used with their targets (N, ...), and what each column became.

    Numbers come first, in their order, nan if missing; then the categories of each other column, all zero if
    the value is missing. Raises DataError for infinite numbers, and for more inputs than memory can hold.
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
            used = np.unique(codes[codes >= 0])
            renumbered = np.full(len(column.labels) + 1, -1, dtype=np.int32)  # the last one is for -1
            renumbered[used] = np.arange(len(used))
            categories[column.name] = torch.from_numpy(renumbered[codes])
            sizes[column.name] = len(used)
            column.detail = _list_categories([column.labels[code] for code in used], "value")
        described.append(_describe(column, rows))
    check_memory(len(targets), sum(part.shape[1] for part in numbers), sizes, options, file)
    inputs = np.concatenate(numbers, axis=1) if numbers else np.empty((len(targets), 0))
    dataset = TableDataset(
        torch.from_numpy(inputs), targets, codes=tuple(categories.values()), sizes=tuple(sizes.values())
    )
    return dataset, described


def read_targets(table: Table, options: TableOptions, config: DataConfig) -> Targets:
    """Read the target columns: as they are in the file if they will be transformed, else encoded."""
    task = None if config.task == "auto" else config.task
    if config.target_transform is None:
        return encode_targets(table, options, task)
    numbers = {name: read_numbers(table, name, options.na_values) for name in options.targets}
    described = [DataColumn(name=name, role="target", detail=TRANSFORMED) for name in numbers]
    name, (values, odd) = next(iter(numbers.items()))
    if len(numbers) == 1 and (values is None or odd):
        codes, texts = read_texts(table, name, options.na_values)
        most = _most_classes(len(codes))
        return Targets(codes, [], described, UntransformedTargets(texts, most), whole=True)
    columns = [_amounts(table, name, options, None) for name in numbers]
    values = np.stack(columns, axis=1) if len(columns) > 1 else columns[0]
    whole = not any(map(partial(_has_fractions, table), numbers, columns))
    names = options.targets if len(columns) > 1 else []
    return Targets(values, names, described, UntransformedTargets(None, MAX_CATEGORIES), whole)


def encode_targets(table: Table, options: TableOptions, task: TaskType | None) -> Targets:
    """Read the target columns.

    One column of text, or of few different whole numbers, has labels unless `task` is regression. Raises
    DataError for text where numbers are needed, and for more labels than can be classes.
    """
    file, names = table.path.name, options.targets
    if len(names) > 1 or task == "regression":
        columns = [_amounts(table, name, options, task) for name in names]
        values = np.stack(columns, axis=1) if len(names) > 1 else columns[0]
        described = [_describe_amounts(name, column) for name, column in zip(names, columns, strict=True)]
        return Targets(values, names if len(names) > 1 else [], described)
    name = names[0]
    numbers, odd = read_numbers(table, name, options.na_values)
    _check_finite(table, name, numbers)
    if numbers is None or odd or name in table.categories:
        codes, labels = read_texts(table, name, options.na_values)
    else:
        known = np.unique(numbers[~np.isnan(numbers)])
        if task is None and _are_amounts(table, name, known):
            return Targets(numbers, [], [_describe_amounts(name, numbers)])
        codes = np.where(np.isnan(numbers), -1, np.searchsorted(known, numbers))
        labels = _number_labels(table, name, numbers, known)
    if task is None and len(labels) > _most_classes(len(codes)):
        raise DataError(
            f"data.target: column {name!r} of {file} has {len(labels):,} different texts in {len(codes):,} "
            "rows; set data.task to 'multiclass' if they are classes"
        )
    column = DataColumn(name=name, role="target", detail=_list_categories(labels, "class"))
    return Targets(codes, labels, [column])


def _most_classes(rows: int) -> int:
    """Return how many different texts are classes in so many rows."""
    return min(MOST_CATEGORIES, max(MAX_CATEGORIES, rows // ROWS_PER_CATEGORY))


def _are_amounts(table: Table, name: str, known: Floats) -> bool:
    """Whether a target with these different numbers has amounts rather than labels.

    Whole numbers are labels. Written as 1.0, as pandas writes them beside gaps, they are so only if they
    count from 0 or 1. Raises DataError for too many whole numbers to be labels.
    """
    if (known % 1 != 0).any():
        return True
    if _has_fractions(table, name, known):
        counting = len(known) > 1 and known[0] in (0, 1) and known[-1] - known[0] == len(known) - 1
        return not counting or len(known) > MAX_CATEGORIES
    if len(known) > MAX_CATEGORIES:
        raise DataError(
            f"data.target: column {name!r} of {table.path.name} has {len(known):,} different values "
            f"in {len(table.frame):,} rows; set data.task to 'regression', or to 'multiclass' if they are "
            "classes"
        )
    return False


def _has_fractions(table: Table, name: str, numbers: Floats) -> bool:
    """Whether some numbers (N,), which may be nan, are not whole, or written with a decimal point."""
    column = table.frame[name]
    if column.dtype.kind == "f" or (numbers[~np.isnan(numbers)] % 1 != 0).any():
        return True
    point = table.number_format.decimal
    return column.dtype.kind not in "biu" and bool(column.str.contains(point, regex=False).any())


def _amounts(table: Table, name: str, options: TableOptions, task: TaskType | None) -> Floats:
    numbers, odd = read_numbers(table, name, options.na_values)
    _check_finite(table, name, numbers)
    if numbers is None or odd:
        example = odd[0] if odd else str(table.frame[name].iloc[0])
        which = "its first value is" if numbers is None else "it has"
        raise DataError(
            f"data.target: column {name!r} of {table.path.name} is not numeric ({which} {example!r}); "
            f"{task or 'several targets'} need{'s' * bool(task)} numbers"
        )
    return numbers


def _check_finite(table: Table, name: str, numbers: Floats | None) -> None:
    """Raise DataError for a target that float32 cannot hold."""
    if numbers is not None and (too_large := np.abs(numbers) > FLOAT32_MAX).any():
        where = table.locate(int(np.flatnonzero(too_large)[0]))
        raise DataError(
            f"data.target: column {name!r} of {table.path.name} has a value in {where} that is infinite or "
            "too large for a 32-bit number; correct or rescale it"
        )


def _number_labels(table: Table, name: str, numbers: Floats, known: Floats) -> list[str]:
    """Return the names of classes that are numbers: as they are written, but "1" for 1.0."""
    if (known % 1 == 0).all():
        if table.frame[name].dtype.kind == "b":
            return ["True" if number else "False" for number in known]
        texts = table.frame[name].to_numpy()
        return [_whole(str(texts[int(np.argmax(numbers == number))]), number) for number in known]
    return [f"{number:g}" for number in known]


def _whole(text: str, number: float) -> str:
    """Return a class that is a whole number as it is written, such as "01", but "1" for "1.0"."""
    return text if text.lstrip("-").isdigit() or not re.search("[0-9]", text) else f"{number:.0f}"


def _describe_amounts(name: str, values: Floats) -> DataColumn:
    known = values[~np.isnan(values)]
    detail = "no values"
    if len(known):
        detail = f"{known.min():.6g} to {known.max():.6g}, mean {known.mean():.6g}, std {known.std():.6g}"
    return DataColumn(name=name, role="target", detail=detail)


def _describe(column: Column, rows: np.ndarray[Any, Any]) -> DataColumn:
    detail = column.detail
    if column.kind in ("numeric", "date", "categorical") and (gaps := int(column.gaps[rows].sum())):
        detail += f"; {gaps:,} missing"
    role: Any = column.kind
    return DataColumn(name=column.name, role=role, detail=detail)


def _list_categories(labels: Sequence[str], what: str) -> str:
    """Write `3 values: a, b, c`."""
    plural = f"{what}{'' if len(labels) == 1 else 'es' if what == 'class' else 's'}"
    more = ", ..." if len(labels) > MAX_NAMED else ""
    return f"{len(labels):,} {plural}: {', '.join(map(printable, labels[:MAX_NAMED]))}{more}"


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
    table: Table, targets: Targets, columns: Sequence[Column], options: TableOptions
) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], list[str]]:
    """Return which rows (N,) to use, and notes on what was done about missing values.

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
                raise DataError(_describe_missing(table, name, gaps, name in target_gaps))
    without_target = np.any(list(target_gaps.values()), axis=0)
    incomplete = np.any(list(feature_gaps.values()), axis=0) if feature_gaps else np.zeros(count, bool)
    if policy == "drop":
        left_out = without_target | incomplete
        if left_out.all():
            raise DataError(
                f"data.missing: 'drop' leaves no rows, because each of the {count:,} rows of {file} has "
                "missing values; set it to 'mean', or leave columns out with data.drop"
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


def _describe_missing(table: Table, name: str, gaps: np.ndarray[Any, Any], is_target: bool) -> str:
    first = int(np.flatnonzero(gaps)[0])
    written = table.frame[name].iloc[first]
    shown = f" ({written!r})" if isinstance(written, str) and written else ""
    count = int(gaps.sum())
    advice = "'drop' to leave out such rows" if is_target else "'drop' or 'mean'"
    return (
        f"data: {table.path.name} has {count:,} missing value{'s' * (count > 1)} in column {name!r}, "
        f"the first in {table.locate(first)}{shown}; set data.missing to {advice}"
    )
