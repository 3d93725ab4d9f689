"""The history of a metric, of bounded size whatever the length of the run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from torchconsole.engine.protocol.buckets import Floats, Ints, Rows, group_starts, merge
from torchconsole.engine.protocol.points import Points

CAPACITY = 5120
"""Most rows of a series, 56 bytes each: at most 0.29 MB for each metric of a run of any length."""

_BUCKETS = CAPACITY // 4
"""Most buckets that thinning leaves; the rest is room for the newest values, which are kept singly."""

_FIRST_BUCKETS = CAPACITY // 8
"""Most buckets that the first thinning leaves, so that percentiles come from eight or more values each."""


class Series:
    """The history of one metric: every value while it is short, then buckets and the newest values.

    A bucket has the steps of a power of two that share their higher bits, so that the worker, its files and a
    console form the same ones.
    """

    def __init__(self) -> None:
        self._rows = Rows(np.empty(0, np.int64), np.empty(0, np.int64), *(np.empty(0) for _ in range(5)))
        self._count = 0
        self._shift = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """The memory that the rows take, room for more included."""
        return sum(column.nbytes for column in self._rows)

    @property
    def rows(self) -> Rows:
        """The history, oldest first. Views: do not write to them, and copy what is to be kept."""
        return self._rows.take(slice(self._count))

    @property
    def steps(self) -> Ints:
        """The steps of the rows, ascending, shape (N,). A view."""
        return self._rows.steps[: self._count]

    @property
    def values(self) -> Floats:
        """The mean of each row, shape (N,), or its non-finite value. A view."""
        return self._rows.values[: self._count]

    def extend(self, points: Points) -> None:
        """Append points, as `append` does."""
        self.append_rows(points.rows())

    def add(self, step: int, value: float) -> None:
        """Append one value, as `append` does."""
        self.append(np.array([step]), np.array([value]))

    def append(self, steps: Ints, values: Floats) -> None:
        """Append values whose steps follow those already here; one at a step that is here replaces it.

        steps: (N,) ascending; values: (N,). A run that was killed during an evaluation repeats it at the same
        step.
        """
        self.append_rows(Rows.single(steps, values))

    def append_rows(self, rows: Rows) -> None:
        """Append rows, which may be buckets, as `append` does."""
        if len(rows.steps) and self._count and rows.steps[0] <= self._rows.steps[self._count - 1]:
            self.drop_after(int(rows.steps[0]) - 1)
        for start in range(0, len(rows.steps), CAPACITY // 2):
            self._add(rows.take(slice(start, start + CAPACITY // 2)))

    def drop_after(self, step: int) -> None:
        """Remove what is after `step`: the run went back to a checkpoint of that step.

        A bucket that reaches beyond it is removed as a whole.
        """
        self._count = int(np.searchsorted(self.steps, step, side="right"))

    def to_points(self) -> Points:
        """Return the history for a message, its newest values thinned as the rest is."""
        return Points.of_rows(self._thinned() if self._shift else self.rows)

    def _add(self, rows: Rows) -> None:
        """Append at most half as many rows as there is room for."""
        if self._count + len(rows.steps) > CAPACITY:
            self._keep(self._thinned(), 0)
        room = len(self._rows.steps)
        if self._count + len(rows.steps) > room:
            grown = min(CAPACITY, max(256, self._count + len(rows.steps), 2 * room))
            wider = Rows._make(np.empty(grown, dtype=column.dtype) for column in self._rows)
            kept, self._rows = self.rows, wider
            self._keep(kept, 0)
        self._keep(rows, self._count)

    def _thinned(self) -> Rows:
        """Return the rows, merged into as few buckets as thinning leaves."""
        rows, self._shift = thinned(self.rows, _BUCKETS if self._shift else _FIRST_BUCKETS, self._shift)
        return rows

    def _keep(self, rows: Rows, start: int) -> None:
        """Write rows from `start` on; there is room for them."""
        self._count = start + len(rows.steps)
        for column, new in zip(self._rows, rows, strict=True):
            column[start : self._count] = new


def thinned(rows: Rows, most: int, shift: int = 0) -> tuple[Rows, int]:
    """Merge rows into at most `most` buckets, and as many rows of non-finite values.

    Buckets have 2**shift steps or more. The last row stays as it is: it is the latest value. Returns the
    rows, and the `shift` of their buckets.
    """
    groups = rows.steps >> shift
    while len(group_starts(groups)) > most:
        shift += 1
        groups >>= 1
    groups[-1:] += 1
    return merge(rows, groups), shift


def is_replaced(history: Mapping[str, Series], name: str) -> bool:
    """Whether a series for each of several optimizers, `NAME_...`, has taken the place of the one series."""
    of_each = [series for part, series in history.items() if part.startswith(f"{name}_") and len(series)]
    alone = history.get(name)
    if not of_each or not alone:
        return False
    return bool(max(series.steps[-1] for series in of_each) > alone.steps[-1])
