"""The y axis of a chart: round, evenly spaced ticks in the middle of rows; the bounds follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from torchconsole.engine.protocol.buckets import HIGH_QUANTILE, LOW_QUANTILE, Floats
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.x_axis import XAxis
from torchconsole.tui.formatting import format_number

_ROUND = (1.0, 2.0, 2.5, 5.0)
_SHORTEST_LOG = 2.0
_DECADES_FROM = 9.0
"""In octaves: shorter logarithmic ranges are drawn linearly, longer ones get powers of ten as ticks."""

_FIRST_SHARE = 0.008
"""The share of the x axis whose smoothed values, of a model that has hardly learnt, may leave the chart."""

_KEEP_FROM_SHARE = 0.5
"""A range is kept as long as at least this share of it is used."""

_GAPS, _LOG_GAPS = (3, 4, 5, 2), (3, 4, 5, 6, 8, 10, 2)
"""Rows from one tick to the next. A logarithmic axis has no finer steps than a factor of 2."""

_FAR = 1e9
"""Distances are cut to this many rows."""

_RUNAWAY_FACTOR = 100
"""Values this many times larger than both the median and the first one may leave the chart."""


@dataclass(frozen=True)
class YAxis:
    """`rows` rows of cells; `bottom` and `top` are the values at their edges, or log2 of them.

    `why_linear` tells why an axis that should be logarithmic is not.
    """

    rows: int
    bottom: float
    top: float
    is_log: bool
    ticks: tuple[tuple[int, str], ...]
    why_linear: str = ""

    @property
    def scale(self) -> str:
        """`log`, or `lin` with the reason why it is not `log` as the user wants."""
        return "log" if self.is_log else f"lin {self.why_linear}".rstrip()

    def places(self, values: Floats) -> Floats:
        """Return the distances of values from the upper edge, in rows; shape (N,)."""
        with np.errstate(divide="ignore", over="ignore"):
            scaled = np.log2(np.maximum(values, 0.0)) if self.is_log else values
            place = (self.top - scaled) * (self.rows / (self.top - self.bottom))
        return np.clip(place, -_FAR, _FAR)

    @property
    def bounds(self) -> tuple[float, float]:
        """The values at the lower and at the upper edge."""
        return (_power(self.bottom), _power(self.top)) if self.is_log else (self.bottom, self.top)

    def fits(self, low: float, high: float) -> bool:
        """Return whether values from `low` to `high` are inside, and use enough of the axis."""
        if self.why_linear and _is_wide(low, high):
            return False
        if self.is_log:
            if low <= 0:
                return False
            low, high = math.log2(low), math.log2(high)
        slack = 1e-9 * (self.top - self.bottom)
        inside = self.bottom - slack <= low and high <= self.top + slack
        return inside and high - low >= _KEEP_FROM_SHARE * (self.top - self.bottom) * (1 - 1e-6)


def needed_range(curves: Sequence[Curve], x: XAxis, *, log: bool) -> tuple[float, float] | None:
    """Return the lowest and the highest value that an axis has to show; None without a finite value.

    Curves that are exact are shown whole. A line counts smoothed, and most of its raw values do; its first
    values and a divergence may leave the chart.
    """
    first, last = x.steps()
    late = first + _FIRST_SHARE * (last - first) if first <= 0 else first
    lows, highs, is_exact = [], [], True
    for curve in curves:
        rows = curve.finite
        seen = slice(*np.searchsorted(rows.steps, [first, math.floor(last) + 1]).tolist())
        if not len(rows.steps[seen]):
            continue
        if curve.kind in ("exact", "plan"):
            low, high = float(rows.low[seen].min()), float(rows.high[seen].max())
        else:
            is_exact = False
            values = curve.line[seen]
            if curve.kind == "line":
                kept = values[rows.steps[seen] >= late]
                values = kept if len(kept) else values
            values = _without_runaways(values, has_diverged=bool(len(curve.nonfinite.steps)))
            low, high = float(values.min()), float(values.max())
            if curve.has_band:
                low = min(low, float(np.quantile(rows.p5[seen], LOW_QUANTILE)))
                high = max(high, min(float(np.quantile(rows.p95[seen], HIGH_QUANTILE)), _usual_limit(values)))
        lows.append(low)
        highs.append(high)
    if not lows:
        return None
    low, high = min(lows), max(highs)
    if is_exact:
        return low, high
    return low, high


def _usual_limit(values: Floats) -> float:
    """Return how far above a line its raw values may stretch the axis."""
    return float(values.max()) + max(abs(float(values.max())), float(np.ptp(values)))


def _without_runaways(values: Floats, *, has_diverged: bool) -> Floats:
    """Leave out what would flatten the rest; the latest value stays unless the curve has diverged."""
    size = np.abs(values)
    if size.max() <= _RUNAWAY_FACTOR * size[0]:
        return values
    limit = _RUNAWAY_FACTOR * max(float(np.median(size)), float(size[0]))
    if has_diverged:
        limit = min(limit, 3 * float(size[0]) or limit)
    kept = values[size <= limit]
    return kept if limit and len(kept) else values


def choose(low: float, high: float, rows: int, *, log: bool = False, exact: bool = False) -> YAxis:
    """Return the axis that shows values from `low` to `high` on so many rows with the least waste.

    With `exact`, it reaches from 0 to `high`, which are the lowest and the highest tick. With `log`, it is
    linear all the same if the values reach 0 or differ by less than two octaves.
    """
    if log:
        if _is_wide(low, high):
            return _chosen(math.log2(low), math.log2(high), rows, is_log=True)
        why = f"(<{2**_SHORTEST_LOG:g}x)" if low > 0 else "(<=0)"
        return replace(choose(low, high, rows, exact=exact), why_linear=why)
    if high - low <= max(abs(low), abs(high)) * 1e-9 or high - low < 1e-290:
        low, high = _around(low)
    if exact and low >= 0 and rows > 1:
        return _from_zero(high, rows)
    return _chosen(low, high, rows, is_log=False)


def _is_wide(low: float, high: float) -> bool:
    """Whether an axis of this range can be logarithmic."""
    return low > 0 and math.log2(high) - math.log2(low) >= _SHORTEST_LOG


def _around(value: float) -> tuple[float, float]:
    """Return a range with a constant in its middle that includes zero."""
    if abs(value) < 1e-290:
        return 0.0, 1.0
    return (0.0, 2 * value) if value > 0 else (2 * value, 0.0)


def _from_zero(high: float, rows: int) -> YAxis:
    parts = next((n for n in (4, 3, 2) if (rows - 1) % n == 0 and (rows - 1) // n >= 3), 1)
    half = high / (rows - 1) / 2
    ticks = tuple(
        (index * (rows - 1) // parts, _label(high * (parts - index) / parts, 3)) for index in range(parts + 1)
    )
    return YAxis(rows, -half, high + half, False, ticks)


def _chosen(low: float, high: float, rows: int, *, is_log: bool) -> YAxis:
    if rows == 1:
        pad = 0.05 * (high - low)
        return YAxis(1, low - pad, high + pad, is_log, ())
    gaps = _LOG_GAPS if is_log else _GAPS
    best: tuple[float, int, float, int] | None = None
    for gap in [gap for gap in gaps if gap < rows] or [rows - 1]:
        for step in _steps(low, high, rows, gap, is_log=is_log):
            lowest = _lowest_row(low, high, rows, step / gap, gap)
            if lowest is not None:
                if best is None or step / gap < best[0] * (1 - 1e-9):
                    best = (step / gap, gap, step, lowest)
                break
    assert best is not None
    per_row, gap, step, lowest = best
    first, last = -(-lowest // gap), (lowest + rows - 1) // gap
    values = [index * step for index in range(first, last + 1)]
    shown = list(map(_power, values)) if is_log else values
    digits = 2 if is_log else _digits(shown, step)
    ticks = tuple(
        (rows - 1 - ((first + index) * gap - lowest), _label(value, digits))
        for index, value in enumerate(shown)
    )
    bottom = (lowest - 0.5) * per_row
    return YAxis(rows, bottom, bottom + rows * per_row, is_log, ticks[::-1])


def _lowest_row(low: float, high: float, rows: int, per_row: float, gap: int) -> int | None:
    """Return the number of the lowest row, in units of `per_row`, that lets all fit; None if none does.

    A row whose number is a multiple of `gap` has a tick; the lowest one has, unless only another one fits.
    """
    lowest = math.floor(low / per_row + 0.5 + 1e-9)
    for first in (lowest // gap * gap, lowest):
        if (first + rows - 0.5) * per_row >= high - 1e-9 * per_row:
            return first
    return None


def _steps(low: float, high: float, rows: int, gap: int, *, is_log: bool) -> list[float]:
    """Return steps from one tick to the next, ascending, of which a later one surely fits."""
    if is_log:
        decade = math.log2(10)
        fine = [] if high - low >= _DECADES_FROM else [1.0, 2.0]
        if gap > max(_GAPS):
            return fine[:1]
        return [*fine, *(decade * factor for factor in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000))]
    rough = (high - low) * gap / (rows + 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return [factor * power * scale for scale in (1.0, 10.0, 100.0) for factor in _ROUND]


def _digits(values: Sequence[float], step: float) -> int:
    """Return how many significant digits, at least two, represent these evenly spaced values exactly."""
    largest = max([step, *map(abs, values)])
    # A step of 2.5 needs one digit more than 2 or 5; the tolerances absorb rounding errors of log10.
    power = math.floor(math.log10(step) + 1e-6)
    extra = 1 if abs(step / 10.0**power - 2.5) < 1e-6 else 0
    return max(2, math.floor(math.log10(largest) + 1e-9) - power + 1 + extra)


def _power(exponent: float) -> float:
    return float(2.0 ** min(exponent, 1023.0))


def _label(value: float, digits: int) -> str:
    return format_number(value, digits)
