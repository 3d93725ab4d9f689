"""Reads the target columns of a table: as labels, as amounts, or as they are for data.target_transform."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import UntransformedTargets
from torchconsole.engine.components.data.tables.columns import (
    FLOAT32_MAX,
    MAX_CATEGORIES,
    MAX_ODD,
    MOST_CATEGORIES,
    ROWS_PER_CATEGORY,
    list_categories,
    list_texts,
)
from torchconsole.engine.components.data.tables.dates import looks_like_dates
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.remedies import mark_as_gaps
from torchconsole.engine.components.data.tables.table import Table, same_in_float64
from torchconsole.engine.components.data.tables.units import have_units
from torchconsole.engine.components.data.tables.values import (
    Floats,
    factorize,
    read_numbers,
    read_texts,
)
from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.reports import DataColumn

TRANSFORMED = "changed by data.target_transform"
"""What is said about a target column that is transformed."""


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
    notes: list[str] = field(default_factory=list)

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
    if numbers is not None and odd and task is None:
        _check_mixed(table, name, numbers, odd, options)
    notes: list[str] = []
    alike = same_in_float64(table.frame[name], table.number_format)
    if numbers is None or odd or alike or name in table.categories:
        codes, labels = read_texts(table, name, options.na_values)
    else:
        known = np.unique(numbers[~np.isnan(numbers)])
        if task is None and _are_amounts(table, name, known):
            return Targets(numbers, [], [_describe_amounts(name, numbers)])
        codes = np.where(np.isnan(numbers), -1, np.searchsorted(known, numbers))
        labels = _number_labels(table, name, numbers, known)
        notes = _note_spellings(table, name, numbers)
    if task is None and len(labels) > _most_classes(len(codes)):
        raise DataError(
            f"data.target: column {name!r} of {file} has {len(labels):,} different texts in {len(codes):,} "
            f'rows{_describe_texts(labels)}; set data.task = "multiclass" if they are classes'
        )
    column = DataColumn(name=name, role="target", detail=list_categories(labels, "class"))
    return Targets(codes, labels, [column], notes=notes)


def _check_mixed(table: Table, name: str, numbers: Floats, odd: list[str], options: TableOptions) -> None:
    """Raise DataError for amounts among which a few texts are no numbers; labels may be both."""
    known = np.unique(numbers[~np.isnan(numbers)])
    whole = not (known % 1 != 0).any()
    if len(odd) <= MAX_ODD and len(odd) <= len(known) and not (whole and len(known) <= MAX_CATEGORIES):
        _raise_not_numeric(
            table, name, numbers, odd, options, '; if they are classes, set data.task = "multiclass"'
        )


def _raise_not_numeric(
    table: Table, name: str, numbers: Floats | None, odd: list[str], options: TableOptions, why: str
) -> NoReturn:
    """Raise DataError for a target with the texts `odd`, and numbers too unless `numbers` is None."""
    column = f"data.target: column {name!r} of {table.path.name}"
    if numbers is None:
        first = str(table.frame[name].dropna().iloc[0])
        described = _describe_texts(odd or [first])
        raise DataError(f"{column} is not numeric (its first value is {first!r}){described}{why}")
    if len(odd) > MAX_ODD:
        raise DataError(f"{column} is not numeric (it has {odd[0]!r}){_describe_texts(odd)}{why}")
    line = table.locate(int((table.frame[name] == odd[0]).to_numpy(dtype=bool, na_value=False).argmax()))
    raise DataError(
        f"{column} has numbers, but also {list_texts(odd)} (the first one in {line}): if they mean that "
        f"there is no value, {mark_as_gaps(odd, options)}{why}"
    )


def _describe_texts(texts: Sequence[str]) -> str:
    """Return the middle of a message about texts that could be numbers, empty for other texts."""
    if looks_like_dates(texts):
        return "; they are dates, which cannot be predicted: write them as numbers, such as days"
    return "; they are numbers with a unit: remove the unit from the file" if have_units(texts) else ""


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
            f'in {len(table.frame):,} rows; set data.task = "regression", or data.task = "multiclass" if '
            "they are classes"
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
    if numbers is not None and (alike := same_in_float64(table.frame[name], table.number_format)):
        raise DataError(
            f"data.target: column {name!r} of {table.path.name} has numbers that 64-bit floats cannot tell "
            f'apart ({alike[0]}, {alike[1]}); write smaller ones, or set data.task = "multiclass" if they '
            "are classes"
        )
    if numbers is None or odd:
        why = f"; {task or 'several targets'} need{'s' * bool(task)} numbers"
        _raise_not_numeric(table, name, numbers, odd, options, why)
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
    short = [f"{number:g}" for number in known]
    return short if len(set(short)) == len(short) else [repr(float(number)) for number in known]


def _note_spellings(table: Table, name: str, numbers: Floats) -> list[str]:
    """Return a note on a number that is written in several ways, as codes such as "1.1" and "1.10" are."""
    if table.frame[name].dtype.kind in "biufM":
        return []
    codes, texts = factorize(table.frame[name])
    written: dict[float, set[str]] = {}
    used, rows = np.unique(codes, return_index=True)
    for code, number in zip(used.tolist(), numbers[rows].tolist(), strict=True):
        text = texts[code]
        if not np.isnan(number):
            written.setdefault(number, set()).add(_whole(text, number) if number % 1 == 0 else text)
    several = next((sorted(spellings) for spellings in written.values() if len(spellings) > 1), [])
    if not several:
        return []
    return [
        f"column {name!r} has {several[0]!r} and {several[1]!r}, which are one class here, because they are "
        "the same number; if they are two, write them with a letter"
    ]


def _whole(text: str, number: float) -> str:
    """Return a class that is a whole number as it is written, such as "01", but "1" for "1.0"."""
    return text if text.lstrip("-").isdigit() or not re.search("[0-9]", text) else f"{number:.0f}"


def _describe_amounts(name: str, values: Floats) -> DataColumn:
    known = values[~np.isnan(values)]
    detail = "no values"
    if len(known):
        detail = f"{known.min():.6g} to {known.max():.6g}, mean {known.mean():.6g}, std {known.std():.6g}"
    return DataColumn(name=name, role="target", detail=detail)
