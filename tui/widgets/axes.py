"""The ranges and ticks of a chart's axes: few, round, and stable while the data grows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HUGE = 1e300
"""Larger values are clipped to this, so that the difference of two values stays finite."""

_OUTLIER_SHARE = 40
_DIVERGED_OUTLIER_SHARE = 8
_OUTLIER_STRETCH = 3
"""The lowest and the highest 1/40 of the values (1/8 if the last one is not finite) are outliers if they
stretch the range more than threefold."""

_RUNAWAY_FACTOR = 100
"""Values this many times larger than both the median and the first value are outliers, however many."""

_KEEP_FROM_SHARE = 0.6
"""A range is kept as long as at least this share of it is used."""

_ROUND_FACTORS = (1.0, 2.0, 2.5, 5.0, 10.0)


def round_step(span: float, parts: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that divides `span` into at most `parts`."""
    rough = span / max(parts, 1.0)
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next((factor for factor in _ROUND_FACTORS if factor * power >= rough * (1 - 1e-9)), 10.0)


def step_end(last: int) -> int:
    """Return the right end of a step axis: a little beyond `last`, so that not every step rescales it."""
    if last <= 10:
        return max(1, last)
    grain = max(1, round(round_step(float(last), 20)))
    return -(-last // grain) * grain


def value_range(curves: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return round bounds for curves, each of shape (N,) with at least one finite value; never a zero range.

    Outliers, such as the loss of the first steps or of the last steps before it is NaN, may be outside the
    bounds if they would flatten the rest; the latest values of a curve that has not diverged never are.
    """
    kept = [_without_runaways(finite(values)) for values in curves]
    low, high = min(float(values.min()) for values in kept), max(float(values.max()) for values in kept)
    bulks = [
        _bulk_range(values, has_diverged=not np.isfinite(curve[-1]))
        for values, curve in zip(kept, curves, strict=True)
    ]
    bulk_low, bulk_high = min(low for low, _ in bulks), max(high for _, high in bulks)
    if high - low > _OUTLIER_STRETCH * (bulk_high - bulk_low) > 0:
        low, high = bulk_low, bulk_high
    if high - low <= max(abs(low), abs(high)) * 1e-9 or high - low < 1e-290:
        return _constant_range(low)
    grain = round_step(high - low, 16)
    return math.floor(low / grain) * grain, math.ceil(high / grain) * grain


def stable_range(needed: tuple[float, float], shown: tuple[float, float]) -> tuple[float, float]:
    """Return the range that covers both, or only `needed` if that would use too little of it."""
    low, high = min(needed[0], shown[0]), max(needed[1], shown[1])
    return (low, high) if needed[1] - needed[0] >= _KEEP_FROM_SHARE * (high - low) else needed


def finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the finite values of `values`, shape (N,), clipped to HUGE."""
    return np.clip(values[np.isfinite(values)], -HUGE, HUGE)


def _without_runaways(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.abs(values)
    if size.max() <= _RUNAWAY_FACTOR * size[0]:
        return values
    typical = max(float(np.median(size)), float(size[0]))
    return values[size <= typical * _RUNAWAY_FACTOR] if typical else values


def _bulk_range(values: NDArray[np.float64], *, has_diverged: bool) -> tuple[float, float]:
    """The range of all but the most extreme values, and of the latest values of a curve that converges."""
    outliers = len(values) // (_DIVERGED_OUTLIER_SHARE if has_diverged else _OUTLIER_SHARE)
    if not outliers:
        return float(values.min()), float(values.max())
    low, high = np.partition(values, (outliers, -1 - outliers))[[outliers, -1 - outliers]]
    latest = values[:0] if has_diverged else values[-2 * outliers :]
    return float(latest.min(initial=low)), float(latest.max(initial=high))


def _constant_range(value: float) -> tuple[float, float]:
    """Bounds that put a constant in the middle and include zero, if it is large enough to divide by."""
    if abs(value) < 1e-290:
        return 0.0, 1.0
    return (0.0, 2 * value) if value > 0 else (2 * value, 0.0)


def tick_values(low: float, high: float, count: float) -> list[float]:
    """Return at most about `count` round values from `low` to `high`."""
    step = round_step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_digits(ticks: Sequence[float]) -> int:
    """Return how many significant digits, at least three, represent these evenly spaced values exactly."""
    if len(ticks) < 2:
        return 3
    largest, step = max(map(abs, ticks)), ticks[1] - ticks[0]
    # A step of 2.5 needs one digit more than 2 or 5; the tolerances absorb rounding errors of log10.
    return max(3, math.floor(math.log10(largest) + 1e-9) - math.floor(math.log10(step) + 1e-6) + 2)
