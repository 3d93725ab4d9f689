"""The ranges and tick marks of a chart: round, few, and steady while the data grows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HUGE = 1e300
"""Values beyond this are drawn at it, so that the difference of two stays a number."""

_FEW_OF = 40
_FEW_OF_DIVERGED = 8
_FLATTENED = 3
"""A fortieth of the values at either end, an eighth where they end in one that is not finite, are outliers
where they stretch the range more than threefold."""

_RUNAWAY = 100
"""Values so many times what is usual, and what they began with, are outliers however many they are."""

_STEADY = 0.6
"""The part of a range that has to be used for the range to be kept."""

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


def round_step(span: float, parts: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that cuts `span` into at most `parts`."""
    rough = span / max(parts, 1.0)
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next((factor for factor in _ROUND if factor * power >= rough * (1 - 1e-9)), 10.0)


def step_end(last: int) -> int:
    """The right end of a step axis: a little beyond `last`, so that the curve moves on without rescaling."""
    if last <= 10:
        return max(1, last)
    grain = max(1, round(round_step(float(last), 20)))
    return -(-last // grain) * grain


def value_range(curves: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Round bounds around the finite values of each curve, shape (N,), one at least; never of zero extent.

    Outliers, such as the loss of the first steps or of the last ones before it is NaN, are left beyond the
    bounds where they would flatten all the rest; the latest of a curve that has not diverged never are.
    """
    kept = [_without_runaways(finite(values)) for values in curves]
    low, high = min(float(values.min()) for values in kept), max(float(values.max()) for values in kept)
    bulks = [_bulk(values, bool(np.isfinite(all[-1]))) for values, all in zip(kept, curves, strict=True)]
    bulk_low, bulk_high = min(low for low, _ in bulks), max(high for _, high in bulks)
    if high - low > _FLATTENED * (bulk_high - bulk_low) > 0:
        low, high = bulk_low, bulk_high
    if high - low <= max(abs(low), abs(high)) * 1e-9 or high - low < 1e-290:
        return _around(low)
    grain = round_step(high - low, 16)
    return math.floor(low / grain) * grain, math.ceil(high / grain) * grain


def steady_range(wanted: tuple[float, float], shown: tuple[float, float]) -> tuple[float, float]:
    """The range that holds both, or `wanted` where it would use too little of that: for what goes on."""
    low, high = min(wanted[0], shown[0]), max(wanted[1], shown[1])
    return (low, high) if wanted[1] - wanted[0] >= _STEADY * (high - low) else wanted


def finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The finite ones among `values`, shape (N,), none larger than HUGE."""
    return np.clip(values[np.isfinite(values)], -HUGE, HUGE)


def _without_runaways(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.abs(values)
    if size.max() <= _RUNAWAY * size[0]:
        return values
    usual = max(float(np.median(size)), float(size[0]))
    return values[size <= usual * _RUNAWAY] if usual else values


def _bulk(values: NDArray[np.float64], goes_on: bool) -> tuple[float, float]:
    """The range of all but the most extreme values, and of the latest while the curve goes on."""
    few = len(values) // (_FEW_OF if goes_on else _FEW_OF_DIVERGED)
    if not few:
        return float(values.min()), float(values.max())
    low, high = np.partition(values, (few, -1 - few))[[few, -1 - few]]
    latest = values[-2 * few :] if goes_on else values[:0]
    return float(latest.min(initial=low)), float(latest.max(initial=high))


def _around(value: float) -> tuple[float, float]:
    """Bounds that put a constant in the middle and show zero, if it is large enough to divide by."""
    if abs(value) < 1e-290:
        return 0.0, 1.0
    return (0.0, 2 * value) if value > 0 else (2 * value, 0.0)


def tick_values(low: float, high: float, count: float) -> list[float]:
    """At most about `count` round values from `low` to `high`."""
    step = round_step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_digits(ticks: Sequence[float]) -> int:
    """The significant digits, three at least, that tell each of these evenly spaced values exactly."""
    if len(ticks) < 2:
        return 3
    largest, step = max(map(abs, ticks)), ticks[1] - ticks[0]
    # A step of 2.5 has a digit more than others of its size; the logarithms of both may be a hair off.
    return max(3, math.floor(math.log10(largest) + 1e-9) - math.floor(math.log10(step) + 1e-6) + 2)
