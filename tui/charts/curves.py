"""A curve of a chart: the history of one metric, and how it is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.protocol.buckets import Floats, Ints, Rows

Kind = Literal["line", "evaluations", "exact", "plan"]
"""A smoothed line; a line with marks at evaluations; a line that shows every value; the future, dotted."""

HUGE = 1e300
"""Larger values are clipped to this, so that the difference of two values stays finite."""

_LARGEST_EXPONENT = 500.0
"""Weights of one block of a moving average are at most e to this."""

_FORGOTTEN = 40.0
"""What e to the minus this remains of is lost in a float."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One metric over steps. `rows` may contain non-finite values.

    `smoothing` is the decay of the moving average that a line shows, 0 for none. With `has_band`, the range
    from the 5th to the 95th percentile is behind it. `best` is the step of the best evaluation; `end_sign`
    marks the last one.
    """

    label: str
    tone: str
    rows: Rows
    kind: Kind = "line"
    has_band: bool = False
    smoothing: float = 0.0
    best: int | None = None
    end_sign: str = "●"

    @classmethod
    def of(
        cls, label: str, tone: str, steps: NDArray[np.int64], values: NDArray[np.float64], kind: Kind = "line"
    ) -> Curve:
        """Return a curve through single values; steps, values: (N,), steps ascending."""
        return cls(label, tone, Rows.single(steps, values), kind)

    @cached_property
    def finite(self) -> Rows:
        """The rows with finite values, clipped to HUGE."""
        is_finite = np.isfinite(self.rows.values)
        rows = self.rows if is_finite.all() else self.rows.take(is_finite)
        if len(rows.steps) and max(float(rows.high.max()), -float(rows.low.min())) > HUGE:
            parts = (np.clip(part, -HUGE, HUGE) for part in rows[2:])
            return Rows(rows.steps, rows.counts, *parts)
        return rows

    @cached_property
    def line(self) -> Floats:
        """The values of the line at the finite rows, shape (N,)."""
        if self.kind != "line" or not self.smoothing:
            return self.finite.values
        return moving_average(self.finite.values, self.finite.counts, self.smoothing)

    @cached_property
    def nonfinite(self) -> Rows:
        """The rows that are not finite."""
        return self.rows.take(~np.isfinite(self.rows.values))

    @property
    def last(self) -> float | None:
        """The latest value; None if there is none."""
        return float(self.rows.values[-1]) if len(self.rows.values) else None


def moving_average(values: Floats, counts: Ints, decay: float) -> Floats:
    """Return the debiased exponential moving average; a row of n values counts as n times their mean.

    values, counts: (N,), finite. After n values the average is sum(d**(n-i) x_i) / sum(d**(n-i)): Adam's bias
    correction, so that it starts at the first value (Kingma and Ba, 2015, section 3).
    """
    if not len(values):
        return values
    scale = float(np.abs(values).max()) or 1.0
    rate = -math.log(decay)
    spent = np.minimum(counts * rate, _FORGOTTEN)
    # A row that outweighs all before it is its own average.
    is_alone = spent >= _FORGOTTEN
    others = np.append(np.flatnonzero(~is_alone), len(values))
    next_of_others = others[np.searchsorted(others, np.arange(len(values)))]
    weights = -np.expm1(-spent)
    total = np.cumsum(spent)
    averages = np.empty(len(values))
    carried, start = 0.0, 0
    while start < len(values):
        if is_alone[start]:
            end = int(next_of_others[start])
            averages[start:end] = values[start:end] / scale
            carried, start = float(averages[end - 1]), end
            continue
        before = total[start] - spent[start]
        end = int(np.searchsorted(total, before + _LARGEST_EXPONENT, side="right"))
        grown = np.exp(total[start:end] - before)
        sums = np.cumsum(weights[start:end] * (values[start:end] / scale) * grown)
        averages[start:end] = (carried + sums) / grown
        carried, start = float(averages[end - 1]), end
    debiased: Floats = averages / -np.expm1(-total) * scale
    return np.clip(debiased, -HUGE, HUGE)
