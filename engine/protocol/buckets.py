"""Rows of a metric's history: single values, and buckets of values that are summarized in one row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOW_QUANTILE, HIGH_QUANTILE = 0.05, 0.95

_END_WEIGHT, _QUANTILE_WEIGHT = 0.025, 0.05
"""Shares of a bucket's values that are assumed at its minimum and at its 5th percentile, and likewise at the
other end, so that buckets with the same percentiles keep them when they are merged."""


class Rows(NamedTuple):
    """Summaries in ascending order of steps, each array of shape (N,).

    A row stands for `counts` values up to and including its step: their mean (`values`), minimum, maximum,
    and 5th and 95th percentile. A row of one value repeats it. Non-finite values have rows of their own, at
    the step of the first one in its bucket.
    """

    steps: Ints
    counts: Ints
    values: Floats
    low: Floats
    high: Floats
    p5: Floats
    p95: Floats

    @classmethod
    def single(cls, steps: Ints, values: Floats) -> Rows:
        """Return a row for each value."""
        return cls(steps, np.ones(len(steps), dtype=np.int64), values, values, values, values, values)

    def take(self, index: slice | Ints | NDArray[np.bool_]) -> Rows:
        """Return the rows that `index` selects."""
        return Rows._make(column[index] for column in self)


def join(parts: list[Rows]) -> Rows:
    """Return the rows of all parts, one part after the other."""
    return Rows._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def merge(rows: Rows, groups: Ints) -> Rows:
    """Summarize each group of rows in one row, and its non-finite rows in another one.

    groups: (N,), ascending. Minimum, maximum, mean and count are exact. The percentiles are exact for rows of
    single values (Hazen's definition) and estimated from the summaries of others.
    """
    is_finite = np.isfinite(rows.values)
    if is_finite.all():
        return _merge_finite(rows, groups)
    merged = _merge_finite(rows.take(is_finite), groups[is_finite])
    others, other_groups = rows.take(~is_finite), groups[~is_finite]
    starts = group_starts(other_groups)
    firsts = others.take(starts)._replace(counts=np.add.reduceat(others.counts, starts))
    both = join([merged, firsts])
    return both.take(np.argsort(both.steps, kind="stable"))


def group_starts(groups: Ints) -> Ints:
    """Return the index of the first element of each group of equal, adjacent elements."""
    if not len(groups):
        return np.zeros(0, dtype=np.int64)
    return np.concatenate(([0], np.flatnonzero(groups[1:] != groups[:-1]) + 1))


def _merge_finite(rows: Rows, groups: Ints) -> Rows:
    starts = group_starts(groups)
    if len(starts) == len(groups):
        return rows
    sizes = np.diff(starts, append=len(groups))
    counts = np.add.reduceat(rows.counts, starts)
    low, high = np.minimum.reduceat(rows.low, starts), np.maximum.reduceat(rows.high, starts)
    share = rows.counts / np.repeat(counts, sizes)
    mean = np.clip(np.add.reduceat(rows.values * share, starts), low, high)
    merged = Rows(rows.steps[starts + sizes - 1], counts, mean, low, high, rows.p5[starts], rows.p95[starts])
    several = sizes > 1
    p5, p95 = _percentiles(rows.take(np.repeat(several, sizes)), sizes[several])
    merged.p5[several] = np.clip(p5, low[several], high[several])
    merged.p95[several] = np.clip(p95, low[several], high[several])
    return merged


def _percentiles(rows: Rows, sizes: Ints) -> tuple[Floats, Floats]:
    """Return the 5th and 95th percentile of groups of adjacent rows; sizes: (G,), the rows of each group."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    is_single = rows.counts == 1
    buckets = rows.take(~is_single)
    values, weights = _atoms(buckets)
    groups = np.concatenate((groups[is_single], np.repeat(groups[~is_single], values.shape[1])))
    flat = np.concatenate((rows.values[is_single], values.ravel()))
    weight = np.concatenate((np.ones(int(is_single.sum())), weights.ravel()))
    order = np.lexsort((flat, groups))
    groups, flat, weight = groups[order], flat[order], weight[order]
    starts = group_starts(groups)
    lasts = np.append(starts[1:], len(groups)) - 1
    upto = np.cumsum(weight)
    before = upto[starts] - weight[starts]
    middle, total = upto - weight / 2, upto[lasts] - before

    def quantile(share: float) -> Floats:
        wanted = before + share * total
        right = np.clip(np.searchsorted(middle, wanted), starts, lasts)
        left = np.maximum(right - 1, starts)
        width = np.maximum(middle[right] - middle[left], 1e-12)
        part = np.clip((wanted - middle[left]) / width, 0.0, 1.0)
        found: Floats = flat[left] * (1 - part) + flat[right] * part
        return found

    return quantile(LOW_QUANTILE), quantile(HIGH_QUANTILE)


def _atoms(buckets: Rows) -> tuple[Floats, Floats]:
    """Return values that stand for those of each bucket, and how many each one stands for; both (N, 7)."""
    low, p5, mean, p95, high = buckets.low, buckets.p5, buckets.values, buckets.p95, buckets.high
    values = np.stack((low, p5, p5 / 2 + mean / 2, mean, mean / 2 + p95 / 2, p95, high), axis=1)
    end = np.maximum(_END_WEIGHT, 0.5 / buckets.counts)
    between = (1 - 2 * end - 2 * _QUANTILE_WEIGHT) / 3
    near = np.full_like(end, _QUANTILE_WEIGHT)
    shares = np.stack((end, near, between, between, between, near, end), axis=1)
    return values, shares * buckets.counts[:, None]
