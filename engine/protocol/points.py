"""Values of a metric over steps: `Points` in messages, and `Series` as a history of bounded size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, model_validator

from torchconsole.engine.protocol.info import Step

NonFinite = Literal["nan", "inf", "-inf"]

CAPACITY = 4096


class MetricsPoint(NamedTuple):
    """The metrics of one logged step: cheap to create, one line of metrics.jsonl."""

    step: int
    epoch: int
    time: float
    active_seconds: float
    metrics: dict[str, float]


def nonfinite_kind(value: float) -> NonFinite | None:
    """Name a value that JSON cannot represent; None for a finite number."""
    if math.isfinite(value):
        return None
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"


def flag_nonfinite(
    metrics: Mapping[str, float | None],
) -> tuple[dict[str, float | None], dict[str, NonFinite]]:
    """Replace non-finite values by None; also return which value each of them was.

    A value that is None already, of a metric that cannot be computed, stays so.
    """
    known = {name: value for name, value in metrics.items() if value is not None}
    flags = {name: kind for name, value in known.items() if (kind := nonfinite_kind(value))}
    return {name: None if name in flags else value for name, value in metrics.items()}, flags


class Points(BaseModel):
    """One metric at several steps. A non-finite value is None, and `nonfinite` names it by its index."""

    steps: list[Step] = []
    values: list[float | None] = []
    nonfinite: dict[int, NonFinite] = {}

    @model_validator(mode="after")
    def _check_lengths(self) -> Points:
        if len(self.steps) != len(self.values):
            raise ValueError("there must be as many values as steps")
        if any(not 0 <= index < len(self.values) for index in self.nonfinite):
            raise ValueError("nonfinite: there is no value with this index")
        return self

    @classmethod
    def of(cls, steps: Iterable[int], values: Iterable[float]) -> Points:
        """Build points from numbers, of which some may not be finite."""
        floats = list(values)
        if all(map(math.isfinite, floats)):
            return cls(steps=list(steps), values=floats)
        flags = {i: kind for i, value in enumerate(floats) if (kind := nonfinite_kind(value))}
        plain: list[float | None] = [None if i in flags else value for i, value in enumerate(floats)]
        return cls(steps=list(steps), values=plain, nonfinite=flags)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return steps and values as numbers, including non-finite ones; both of shape (N,)."""
        values = np.array(self.values, dtype=np.float64)
        for index, kind in self.nonfinite.items():
            values[index] = float(kind)
        return np.array(self.steps, dtype=np.int64), values


def decimate(
    steps: NDArray[np.int64], values: NDArray[np.float64], buckets: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keep each bucket's minimum and maximum, its non-finite points' first, and the last point of all.

    steps: (N,) ascending; values: (N,). Buckets have equal widths in steps, so the early and the late part
    of a run keep the same resolution, and decimating twice loses no extreme. Returns at most
    3 * buckets + 1 points, in order.
    """
    count = len(steps)
    if count <= 2 * buckets:
        return steps, values
    span = int(steps[-1] - steps[0]) + 1
    bucket = (steps - steps[0]) * buckets // span
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    finite = np.isfinite(values)
    kept = np.zeros(count, dtype=bool)
    kept[-1] = True
    for filler, pick in ((np.inf, np.minimum), (-np.inf, np.maximum)):
        filled = np.where(finite, values, filler)
        extreme = np.repeat(pick.reduceat(filled, starts), np.diff(starts, append=count))
        kept |= _first_of_bucket((filled == extreme) & finite, bucket)
    kept |= _first_of_bucket(~finite, bucket)
    return steps[kept], values[kept]


def _first_of_bucket(mask: NDArray[np.bool_], bucket: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Keep only the first marked point of each bucket."""
    marked = np.flatnonzero(mask)
    first = np.zeros(len(mask), dtype=bool)
    first[marked[np.flatnonzero(np.diff(bucket[marked], prepend=-1))]] = True
    return first


class Series:
    """The history of one metric: every point while it is short, the extremes of buckets once it is long.

    It holds at most 2 * CAPACITY points, 16 bytes each, whatever the length of the run.
    """

    def __init__(self) -> None:
        self._steps = np.empty(256, dtype=np.int64)
        self._values = np.empty(256, dtype=np.float64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """The memory that the points take, room for more included."""
        return self._steps.nbytes + self._values.nbytes

    @property
    def steps(self) -> NDArray[np.int64]:
        """Steps, ascending, shape (N,). A view: do not write to it."""
        return self._steps[: self._count]

    @property
    def values(self) -> NDArray[np.float64]:
        """Values at those steps, shape (N,), non-finite ones included. A view."""
        return self._values[: self._count]

    def extend(self, points: Points) -> None:
        """Append points, as `append` does."""
        self.append(*points.arrays())

    def add(self, step: int, value: float) -> None:
        """Append one point, as `append` does."""
        self.append(np.array([step]), np.array([value]))

    def append(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Append points whose steps follow those already here; one at a step that is here replaces it.

        steps: (N,) ascending; values: (N,). A run that was killed during an evaluation repeats it at the same
        step.
        """
        if len(steps) and self._count and steps[0] <= self._steps[self._count - 1]:
            self.drop_after(int(steps[0]) - 1)
        for start in range(0, len(steps), CAPACITY):
            self._add(steps[start : start + CAPACITY], values[start : start + CAPACITY])

    def drop_after(self, step: int) -> None:
        """Remove the points after `step`: the run went back to a checkpoint of that step."""
        self._count = int(np.searchsorted(self.steps, step, side="right"))

    def to_points(self, buckets: int = CAPACITY // 4) -> Points:
        """Return the history for a message, decimated to the extremes of `buckets` buckets."""
        steps, values = decimate(self.steps, self.values, buckets)
        return Points.of(steps.tolist(), values.tolist())

    def _add(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Append at most CAPACITY points."""
        if self._count + len(steps) > 2 * CAPACITY:
            self._keep(*decimate(self.steps, self.values, CAPACITY // 4))
        if self._count + len(steps) > len(self._steps):
            grown = min(2 * CAPACITY, max(self._count + len(steps), 2 * len(self._steps)))
            self._steps = np.resize(self._steps, grown)
            self._values = np.resize(self._values, grown)
        self._keep(steps, values, self._count)

    def _keep(self, steps: NDArray[np.int64], values: NDArray[np.float64], start: int = 0) -> None:
        """Write points from `start` on; there is room for them."""
        self._count = start + len(steps)
        self._steps[start : self._count] = steps
        self._values[start : self._count] = values
