"""Values of a metric over steps, as they are in messages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from torchconsole.engine.protocol.buckets import Rows
from torchconsole.engine.protocol.info import Step

NonFinite = Literal["nan", "inf", "-inf"]


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


def _rounded(values: NDArray[np.float64], digits: int = 7) -> NDArray[np.float64]:
    """Round to significant digits; very small and very large values stay as they are."""
    size = np.abs(values)
    is_usual = (size > 1e-200) & (size < 1e200)
    power = 10.0 ** (digits - 1 - np.floor(np.log10(np.where(is_usual, size, 1.0))))
    return np.where(is_usual, np.round(values * power) / power, values)


class Buckets(BaseModel):
    """What each of some points summarizes: that many values up to its step, of which the point is the mean.

    Minimum, maximum, and approximate 5th and 95th percentiles. None where the values are not finite.
    """

    counts: list[Annotated[int, Field(ge=1, le=2**53)]] = []
    low: list[float | None] = []
    high: list[float | None] = []
    p5: list[float | None] = []
    p95: list[float | None] = []


class Points(BaseModel):
    """One metric at several steps. A non-finite value is None, and `nonfinite` names it by its index.

    With `buckets`, each point summarizes several values.
    """

    steps: list[Step] = []
    values: list[float | None] = []
    nonfinite: dict[int, NonFinite] = {}
    buckets: Buckets | None = None

    @model_validator(mode="after")
    def _check_lengths(self) -> Points:
        if len(self.steps) != len(self.values):
            raise ValueError("there must be as many values as steps")
        if any(not 0 <= index < len(self.values) for index in self.nonfinite):
            raise ValueError("nonfinite: there is no value with this index")
        if self.buckets is not None and any(len(part) != len(self.values) for _, part in self.buckets):
            raise ValueError("buckets: there must be as many entries as values")
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

    @classmethod
    def of_rows(cls, rows: Rows) -> Points:
        """Build points from rows of a history. Means and percentiles are rounded to seven digits."""
        is_bucket = rows.counts > 1
        if not is_bucket.any():
            return cls.of(rows.steps.tolist(), rows.values.tolist())
        is_finite = np.isfinite(rows.values).tolist()

        def rounded(part: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.where(is_bucket, np.clip(_rounded(part), rows.low, rows.high), part)

        def listed(part: NDArray[np.float64]) -> list[float | None]:
            return [value if known else None for value, known in zip(part.tolist(), is_finite, strict=True)]

        points = cls.of(rows.steps.tolist(), rounded(rows.values).tolist())
        low, high, p5, p95 = map(listed, (rows.low, rows.high, rounded(rows.p5), rounded(rows.p95)))
        points.buckets = Buckets(counts=rows.counts.tolist(), low=low, high=high, p5=p5, p95=p95)
        return points

    def rows(self) -> Rows:
        """Return the points as rows of a history."""
        steps, values = self.arrays()
        if self.buckets is None:
            return Rows.single(steps, values)

        def known(numbers: list[float | None]) -> NDArray[np.float64]:
            given = np.array(numbers, dtype=np.float64)
            return np.where(np.isfinite(values) & np.isfinite(given), given, values)

        parts = self.buckets
        counts = np.array(parts.counts, dtype=np.int64)
        return Rows(
            steps, counts, values, known(parts.low), known(parts.high), known(parts.p5), known(parts.p95)
        )

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
