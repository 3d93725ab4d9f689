"""The values of metrics as every part of the console shows them: the latest, the best, and the trend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.protocol.buckets import Rows
from torchconsole.engine.protocol.run_state import History, RunState
from torchconsole.engine.protocol.series import Series
from torchconsole.tui.metric_direction import higher_is_better as by_name

Split = Literal["train", "val", "other"]
Trend = Literal["up", "down", "flat"]

UNLISTED = ("lr", "samples_per_sec", "data_wait", "skipped_steps")
"""What is logged, but shown elsewhere than among the metrics."""

_NO_DIRECTION = ("grad_norm", "weight_norm", "update_ratio")

_RECENT = 20
"""The trend of a value that each step has compares this many steps with as many before them."""

_SEARCHED = 1000
"""The trend is that of the finite ones among the last values, so many of them."""

_FLAT_SHARE = 0.005
"""A change of less than this share of the range is no trend."""


@dataclass(frozen=True)
class MetricValue:
    """A metric. `value` is None where it cannot be computed; `best` is known for validation metrics.

    steps, values: (N,), the metric's history.
    """

    name: str
    value: float | None
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    best: float | None = None
    best_step: int | None = None
    higher_is_better: bool | None = None

    @property
    def split(self) -> Split:
        """Return which data the metric is of."""
        head, slash, _ = self.name.partition("/")
        if not slash:
            return "other"
        return "train" if head == "train" else "val" if head == "val" else "other"

    @cached_property
    def trend(self) -> Trend | None:
        """Return whether the value rises; None while there is too little to compare."""
        latest = self.values[-_SEARCHED:]
        values = latest[np.isfinite(latest)]
        if len(values) < 2:
            return None
        recent = values[-4 * _RECENT :]
        if self.split == "val":
            before, now = float(values[-2]), float(values[-1])
        else:
            half = max(1, min(_RECENT, len(recent) // 2))
            before, now = float(recent[-2 * half : -half].mean()), float(recent[-half:].mean())
        span = float(recent.max()) - float(recent.min())
        if not math.isfinite(span) or abs(now - before) <= _FLAT_SHARE * span:
            return "flat"
        return "up" if now > before else "down"

    @property
    def is_improving(self) -> bool | None:
        """Return whether the trend is a good one; None if it is neither good nor bad."""
        if self.higher_is_better is None or self.trend in (None, "flat"):
            return None
        return (self.trend == "up") is self.higher_is_better


def metric_values(run: RunState, history: History) -> list[MetricValue]:
    """Return every metric of a run: the monitored one, other validation metrics, training metrics, others."""
    names = [name for name in run.metrics if name not in UNLISTED]
    monitored = monitored_metric(run)

    def order(name: str) -> tuple[int, int, str]:
        is_loss = name.rpartition("/")[2] == "loss"
        split = 1 if name.startswith("val/") else 2 if name.startswith("train/") else 3
        return (0 if name == monitored else split, not is_loss, "")

    return [_value(name, run, history) for name in sorted(names, key=order)]


def _value(name: str, run: RunState, history: History) -> MetricValue:
    series = history.get(name)
    steps = series.steps if series else np.empty(0, dtype=np.int64)
    values = series.values if series else np.empty(0)
    value = run.metrics.get(name)
    if value is None and len(values):
        value = float(values[-1])
    best, best_step, higher = None, None, higher_is_better(name, run)
    if name.startswith("val/") and higher is not None:
        best, best_step = _best_of(name, run, series, higher)
    return MetricValue(name, value, steps, values, best, best_step, higher)


def _best_of(
    name: str, run: RunState, series: Series | None, higher: bool
) -> tuple[float | None, int | None]:
    """Return the best value and its step; of the monitored metric as the run has recorded it."""
    if run.best is not None and run.best.metric == name:
        return run.best.value, run.best.step
    found = best_row(series.rows, higher=higher) if series else None
    return (None, None) if found is None else (found[1], found[0])


def best_row(rows: Rows, *, higher: bool) -> tuple[int, float] | None:
    """Return the step and the value of the best finite one, the first of equal ones; of a bucket, its end."""
    values = rows.high if higher else rows.low
    finite = np.flatnonzero(np.isfinite(values))
    if not len(finite):
        return None
    index = finite[int(values[finite].argmax() if higher else values[finite].argmin())]
    return int(rows.steps[index]), float(values[index])


def monitored_metric(run: RunState) -> str:
    """Return the metric that decides which checkpoint is the best."""
    if run.early_stopping is not None:
        return run.early_stopping.monitor
    return run.best.metric if run.best is not None else "val/loss"


def higher_is_better(name: str, run: RunState) -> bool | None:
    """Return whether higher values are better: as early stopping says, else by the name; None if neither."""
    if run.early_stopping is not None and run.early_stopping.monitor == name:
        return run.early_stopping.mode == "max"
    return None if name.rpartition("/")[2] in _NO_DIRECTION else by_name(name)
