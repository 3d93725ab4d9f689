"""Tells whether two sets of a dataset in user code have the same samples, even if one augments them.

Many datasets have a flag such as `is_training` that only switches their augmentation. A validation set that
is opened with it would be the training set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import product
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, MapStyleDataset
from torchconsole.engine.components.data.order import preserved_randomness
from torchconsole.engine.errors import DataError

READS = 6
"""Times to read a sample: an augmentation may leave it unchanged now and then."""

MOST_ROWS = 100
"""Rows of an array to compare; it may be larger than the memory."""

MOST_BYTES = 64 << 20
"""Larger arrays are only compared in their order."""

MAX_DEPTH = 4
"""Datasets around datasets whose attributes are compared."""


def same_samples(one: BaseDataset, other: BaseDataset) -> bool:
    """Whether both sets have the same samples, or nothing but random inputs tells them apart.

    Files, indices and other attributes with one entry per sample decide, in any order. Without files, a few
    inputs do.
    """
    if len(one) != len(other) or one.targets.shape != other.targets.shape:
        return False
    if not torch.equal(one.targets.flatten().sort().values, other.targets.flatten().sort().values):
        return False
    files, common = False, []
    if isinstance(one, MapStyleDataset) and isinstance(other, MapStyleDataset):
        ones, others = dict(_attributes(one.source)), dict(_attributes(other.source))
        common = [(ones[name], others[name]) for name in ones if name in others]
        files = any(_are_files(column) for column, _ in common)
        if any(_differ(*columns, files=files) for columns in common):
            return False
    if files or (torch.equal(one.targets, other.targets) and _equal_or_random(one, other)):
        return True
    if isinstance(one, InMemoryDataset) and isinstance(other, InMemoryDataset):
        common = [(one.inputs, other.inputs)]
    return any(_same_rows(*columns) for columns in common)


def _attributes(dataset: Any, name: str = "", depth: int = MAX_DEPTH) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a dataset, and of those within it, that tell which samples it has."""
    count = len(dataset) if hasattr(dataset, "__len__") else 0
    for key, value in getattr(dataset, "__dict__", {}).items():
        where = f"{name}.{key}"
        if isinstance(value, Path) or (isinstance(value, str) and (os.sep in value or "." in value)):
            yield where, value
        elif type(value).__module__.partition(".")[0] == "pandas":
            if len(value) == count > 0:
                columns = value.items() if value.ndim == 2 else [("", value)]
                yield from ((f"{where}.{column}", entries.tolist()) for column, entries in columns)
        elif isinstance(value, list | tuple | range | np.ndarray | Tensor):
            if isinstance(value, list | tuple) and value and depth and all(map(_is_dataset, value)):
                for number, inner in enumerate(value):
                    yield from _attributes(inner, f"{where}.{number}", depth - 1)
            elif getattr(value, "ndim", 1) and len(value) == count > 0:
                yield where, value
        elif depth and _is_dataset(value):
            yield from _attributes(value, where, depth - 1)


def _is_dataset(value: Any) -> bool:
    return isinstance(value, torch.utils.data.Dataset)


def _scalars(row: Any) -> list[Any]:
    """Return the texts, paths and integers of a row, such as (path, label) or a dict of a sample."""
    if is_dataclass(row) and not isinstance(row, type):
        row = [getattr(row, field.name) for field in fields(row)]
    items = row.values() if isinstance(row, dict) else row if isinstance(row, tuple | list) else [row]
    return [item for item in items if isinstance(item, str | bytes | os.PathLike | Integral)]


def _are_files(column: Any) -> bool:
    """Whether the entries name files that exist, so that equal ones are the same file."""
    if not isinstance(column, list | tuple | np.ndarray):
        return False
    return any(isinstance(item, str | os.PathLike) and _exists(item) for item in _scalars(column[0]))


def _exists(path: str | os.PathLike[str]) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises an error for a long text


def _differ(one: Any, other: Any, *, files: bool) -> bool:
    """Whether an attribute has other values; beside `files`, only those of columns of text or integers count.

    The order of such a column does not count, because a training set may be shuffled.
    """
    if isinstance(one, str | Path) or isinstance(other, str | Path):
        one, other = str(one), str(other)
        return not files and one != other and _exists(one) and _exists(other)
    left, right = _entries(one), _entries(other)
    if left is not None and right is not None:
        return left != right
    if files or not isinstance(one, np.ndarray | Tensor) or len(one) != len(other):
        return False
    rows = np.linspace(0, len(one) - 1, MOST_ROWS).astype(int)
    if type(one) is not type(other) or _equal_arrays(one[rows], other[rows]):
        return False
    return not _same_rows(one, other)


def _entries(column: Any) -> list[str] | None:
    """Return the texts and integers of each row of a column, sorted; None for a column of other numbers."""
    if isinstance(column, np.ndarray | Tensor):
        column = column.tolist() if column.ndim == 1 else [None]
    if not _scalars(column[0]):
        return None
    return sorted("\0".join(map(str, _scalars(row))) for row in column)


def _equal_arrays(left: Any, right: Any) -> bool:
    return left.shape == right.shape and bool(((left == right) | ((left != left) & (right != right))).all())


def _same_rows(one: Any, other: Any) -> bool:
    """Whether two arrays of numbers have the same rows in any order, and most rows differ from the others."""
    ones, others = _row_bytes(one), _row_bytes(other)
    return ones is not None and ones == others and len(set(ones)) > len(ones) / 2


def _row_bytes(array: Any) -> list[bytes] | None:
    """Return the rows of an array, sorted; None for a large one, and for what is no array of numbers."""
    if not isinstance(array, np.ndarray | Tensor) or array.nbytes > MOST_BYTES or not array.ndim:
        return None
    if isinstance(array, np.ndarray):
        return sorted(row.tobytes() for row in array) if array.dtype.kind in "biuf" else None
    if array.layout is not torch.strided:
        return None
    rows = array.detach().cpu().reshape(len(array), -1).contiguous().view(torch.uint8).numpy()
    return sorted(row.tobytes() for row in rows)


def _equal_or_random(one: BaseDataset, other: BaseDataset) -> bool:
    """Whether a few inputs are equal, or differ from one reading to the next."""
    samples = [0] if isinstance(one, InMemoryDataset) else sorted({0, len(one) // 2, len(one) - 1})
    if isinstance(one, InMemoryDataset) and isinstance(other, InMemoryDataset):
        return torch.equal(one.inputs, other.inputs)
    try:
        with preserved_randomness():
            reads = [[[each.input(i) for _ in range(READS)] for each in (one, other)] for i in samples]
    except DataError:
        return False  # samples that cannot be read are reported later
    if any(not torch.equal(first, again) for pair in reads for first, *more in pair for again in more):
        return True
    return all(any(torch.equal(*inputs) for inputs in product(*pair)) for pair in reads)
