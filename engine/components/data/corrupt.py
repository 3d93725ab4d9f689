"""Samples that cannot be read, where a preset says to go on without them."""

from __future__ import annotations

import torch
from torch import Tensor

from torchconsole.engine.errors import DataError


class CorruptSamples:
    """Marks, for all processes that read, which samples of a data set cannot be read: at most `most`."""

    def __init__(self, count: int, most: int) -> None:
        self._marks: Tensor = torch.zeros(count, dtype=torch.bool)
        # Loader processes are forked: what one of them finds, all see.
        self._marks.share_memory_()  # type: ignore[no-untyped-call]
        self._most = most
        self._told = 0

    def __contains__(self, place: int) -> bool:
        return bool(self._marks[place])

    def add(self, place: int, error: DataError) -> None:
        """Mark one. Raises DataError when there are too many."""
        self._marks[place] = True
        if int(self._marks.sum()) > self._most:
            raise DataError(
                f"data.max_corrupt: more than {self._most:,} samples cannot be read; the last one: {error}"
            ) from error

    def places(self) -> list[int]:
        """Which were found since this was last asked, if any: all that are known by now, else none."""
        found: list[int] = self._marks.nonzero().flatten().tolist()
        known, self._told = self._told, len(found)
        return found if len(found) > known else []
