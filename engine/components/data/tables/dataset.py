"""The rows of a table; categories are numbers until they become zeros and ones, which take much memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import InMemoryDataset
from torchconsole.engine.components.data.measuring import MeanStd
from torchconsole.engine.components.data.memory_budget import free_host_memory
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.remedies import toml_list
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import mebibytes

MAX_WIDEST = 3
"""Number of columns that are named if the inputs do not fit into memory."""


@dataclass(frozen=True)
class TableDataset(InMemoryDataset):
    """Rows whose `inputs` (N, K) float64 are the numbers alone; `expanded` adds the categories."""

    codes: tuple[Tensor, ...] = ()
    """Category of each row, (N,) int32 for each column of them; -1 if it is missing or hidden."""
    sizes: tuple[int, ...] = ()
    """Number of categories of each column."""

    @property
    def width(self) -> int:
        """Number of inputs that the model gets."""
        return self.inputs.shape[1] + sum(self.sizes)

    def subset(self, indices: Tensor) -> TableDataset:
        source_indices = indices if self.indices is None else self.indices[indices]
        return replace(
            self,
            inputs=self.inputs[indices],
            targets=self.targets[indices],
            indices=source_indices,
            codes=tuple(column[indices] for column in self.codes),
        )

    def seen(self) -> list[Tensor]:
        """Return which categories of each column occur, (C,) bool each."""
        found = []
        for column, size in zip(self.codes, self.sizes, strict=True):
            found.append(torch.zeros(size, dtype=torch.bool))
            found[-1][column[column >= 0].long()] = True
        return found

    def keep_categories(self, wanted: Sequence[Tensor]) -> TableDataset:
        """Return the rows without the categories that are not `wanted`, (C,) bool for each column."""
        kept = [torch.cat([each, torch.zeros(1, dtype=torch.bool)]) for each in wanted]
        codes = (
            column.where(mask[column.long()], torch.full_like(column, -1))
            for column, mask in zip(self.codes, kept, strict=True)
        )
        return replace(self, codes=tuple(codes))

    def expanded(self, scaling: MeanStd | None) -> InMemoryDataset:
        """Return inputs (N, width) float32: the numbers, normalized in float64, then zeros and ones."""
        numbers = self.inputs.shape[1]
        inputs = torch.zeros(len(self), self.width)
        for number in range(numbers):
            column = self.inputs[:, number]
            if scaling is not None:
                column = column.sub(scaling.mean[number]).div_(scaling.std[number])
            inputs[:, number] = column
        start = numbers
        for codes, size in zip(self.codes, self.sizes, strict=True):
            rows = torch.nonzero(codes >= 0).flatten()
            inputs[rows, start + codes[rows].long()] = 1.0
            start += size
        return InMemoryDataset(inputs, self.targets, locate=self.locate, indices=self.indices)


def check_memory(rows: int, numbers: int, sizes: dict[str, int], options: TableOptions, file: str) -> None:
    """Raise DataError if the inputs of so many rows do not fit into free memory.

    `numbers` are the inputs that are numbers, `sizes` the number of categories of each other column.
    """
    width = numbers + sum(sizes.values())
    needed = rows * (width * np.dtype(np.float32).itemsize + numbers * 2 * np.dtype(np.float64).itemsize)
    if needed <= (free := free_host_memory()):
        return
    message = (
        f"data.features: {rows:,} rows of {file} with {width:,} inputs take {mebibytes(needed)}, but only "
        f"{mebibytes(free)} of memory are free"
    )
    widest = sorted(sizes, key=lambda name: -sizes[name])[:MAX_WIDEST]
    if not widest:
        raise DataError(f"{message}; leave out columns with data.drop, or use fewer rows")
    listed = ", ".join(f"{name!r} ({sizes[name]:,})" for name in widest)
    if options.features is None:
        remedy = f"set data.drop = {toml_list([*options.drop, *widest])} to leave them out"
    else:
        remedy = "remove them from data.features"
    raise DataError(f"{message}; the columns with the most categories are {listed}: {remedy}")
