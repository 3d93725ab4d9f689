"""Histograms of the weights of a training, for other tools. They are in no message."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Histogram:
    """How often the finite values of a tensor are in each of some bins of equal width.

    `edges` are the upper ends of the bins, `counts` how many values each has; `low` and `high` are the
    extremes, `total` is the sum of the values and `squares` that of their squares.
    """

    low: float
    high: float
    total: float
    squares: float
    edges: list[float]
    counts: list[int]


@dataclass(frozen=True)
class WeightHistograms:
    """The histograms at a step: `weights/NAME` and `gradients/NAME` for each parameter."""

    step: int
    time: float
    by_name: dict[str, Histogram]
