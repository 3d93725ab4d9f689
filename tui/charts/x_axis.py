"""The x axis that all charts of a screen share. It grows in stages, so that what is drawn stays."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.protocol.buckets import Floats, Ints
from torchconsole.tui.charts.braille import DOTS_ACROSS
from torchconsole.tui.formatting import format_count

_STAGES = (1 / 8, 1 / 4, 1 / 2, 1.0)
_NEXT_STAGE = 0.9
"""The share of a stage after which the next one begins."""

_SHORTEST = 16
"""The first stage of a run of unknown length, in steps."""

_COLUMNS_PER_TICK = 15

_ROUND_SECONDS = tuple(factor * step for factor in (1, 60) for step in (1, 2, 5, 10, 15, 30)) + tuple(
    3600 * hours for hours in (1, 2, 3, 6, 12)
)
_ROUND_FACTORS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Unit:
    """What x counts. The functions convert steps to it and back, elementwise and ascending."""

    name: str
    of_steps: Callable[[Floats], Floats]
    to_steps: Callable[[Floats], Floats]
    format_tick: Callable[[float], str] = format_count
    format_exact: Callable[[float], str] = "{:,.0f}".format
    is_whole: bool = True
    base: float = 10.0


STEPS = Unit("step", lambda steps: steps, lambda steps: steps)


@dataclass(frozen=True)
class XAxis:
    """The values from `start` to `end`, in `unit`, on so many columns of cells."""

    start: float
    end: float
    columns: int
    unit: Unit = STEPS

    @property
    def dots(self) -> int:
        """The number of dot columns."""
        return self.columns * DOTS_ACROSS

    def dots_of(self, steps: NDArray[np.int64] | Floats) -> Ints:
        """Return the dot columns of steps, which may be left or right of the plot; shape (N,)."""
        x = self.unit.of_steps(np.asarray(steps, dtype=np.float64))
        place = (x - self.start) * ((self.dots - 1) / (self.end - self.start))
        return np.floor(np.clip(place + 1e-9, -1e9, 1e9)).astype(np.int64)

    def columns_of(self, steps: NDArray[np.int64] | Floats) -> Ints:
        """Return the columns of cells of steps, which may be left or right of the plot; shape (N,)."""
        return self.dots_of(steps) // DOTS_ACROSS

    def column_of(self, step: float) -> int:
        """Return the column of one step."""
        return int(self.columns_of(np.array([float(step)]))[0])

    def step_at(self, column: float) -> float:
        """Return the step in the middle of a column."""
        x = self.start + (column * DOTS_ACROSS + 0.5) * (self.end - self.start) / (self.dots - 1)
        return float(self.unit.to_steps(np.array([x]))[0])

    def steps(self) -> tuple[float, float]:
        """Return the first and the last step."""
        first, last = self.unit.to_steps(np.array([self.start, self.end]))
        return float(first), float(last)

    def ticks(self) -> list[tuple[int, str]]:
        """Return the columns and labels of round values, from left to right."""
        span = self.end - self.start
        step = round_step(span, max(2.0, self.columns / _COLUMNS_PER_TICK), self.unit.base)
        if self.unit.is_whole:
            step = max(1.0, math.ceil(step))
        first, last = math.ceil(self.start / step - 1e-9), math.floor(self.end / step + 1e-9)
        values = [index * step for index in range(first, last + 1)]
        scale = (self.dots - 1) / span
        places = [int((value - self.start) * scale + 1e-9) // DOTS_ACROSS for value in values]
        labels = [self.unit.format_tick(value) for value in values]
        if len(set(labels)) < len(labels):
            labels = [self.unit.format_exact(value) for value in values]
        return list(zip(places, labels, strict=True))


def stage_end(step: int, total: int | None) -> int:
    """Return where the x axis of a live run ends: at 1/8, 1/4, 1/2 or all of it, or at a power of two.

    The next stage begins at 90 % of one.
    """
    if total:
        ends = [max(1, math.ceil(total * stage)) for stage in _STAGES]
        return next((end for end in ends if step < _NEXT_STAGE * end), max(total, step))
    end = _SHORTEST
    while step >= _NEXT_STAGE * end:
        end *= 2
    return end


def round_end(last: int) -> int:
    """Return a round end of an axis a little beyond `last`, so that not every step rescales it."""
    if last <= 10:
        return max(1, last)
    grain = max(1, round(round_step(float(last), 20)))
    return -(-last // grain) * grain


def round_step(span: float, parts: float, base: float = 10.0) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that divides `span` into at most `parts`.

    With `base` 60, for minutes, the smallest of 1, 2, 5, 10, 15, 30 seconds, minutes and so on.
    """
    rough = span / max(parts, 1.0)
    if base == 60:
        step = next((step for step in _ROUND_SECONDS if step >= 60 * rough * (1 - 1e-9)), None)
        return step / 60 if step else 1440 * round_step(rough / 1440, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next((factor for factor in _ROUND_FACTORS if factor * power >= rough * (1 - 1e-9)), 10.0)
