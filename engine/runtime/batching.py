"""Batches of metrics: many logged steps as one event, two events as one, and long series thinned out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from torchconsole.engine.protocol.events import MetricsLogged
from torchconsole.engine.protocol.points import MetricsPoint, Points, decimate

MOST_POINTS = 100
"""Points of a series in one event; beyond that the extremes say as much on any screen."""


def batch(points: Sequence[MetricsPoint], first_seq: int, seq: int) -> MetricsLogged:
    """One event for one or more logged steps, a series per metric, whole.

    `first_seq` and `seq` are the numbers of the first and the last step.
    """
    steps: dict[str, list[int]] = {}
    values: dict[str, list[float]] = {}
    for point in points:
        for name, value in point.metrics.items():
            steps.setdefault(name, []).append(point.step)
            values.setdefault(name, []).append(float(value))
    last = points[-1]
    return MetricsLogged(
        first_seq=first_seq,
        seq=seq,
        time=last.time,
        step=last.step,
        epoch=last.epoch,
        active_seconds=last.active_seconds,
        series={name: Points.of(steps[name], values[name]) for name in steps},
    )


def thin(event: MetricsLogged) -> MetricsLogged:
    """The event with at most MOST_POINTS points in each series: each bucket's extremes."""
    if all(len(points.steps) <= MOST_POINTS for points in event.series.values()):
        return event
    return event.model_copy(
        update={"series": {name: _thinned(points) for name, points in event.series.items()}, "gap": True}
    )


def merge(earlier: MetricsLogged, later: MetricsLogged) -> MetricsLogged:
    """One event in the place of two, thinned."""
    series = dict(earlier.series)
    for name, points in later.series.items():
        series[name] = _joined(series[name], points) if name in series else points
    update = {"series": series, "first_seq": earlier.first_seq, "gap": earlier.gap or later.gap}
    return thin(later.model_copy(update=update))


def _thinned(points: Points) -> Points:
    if len(points.steps) <= MOST_POINTS:
        return points
    steps = np.array(points.steps, dtype=np.int64)
    kept, values = decimate(steps, np.array(points.floats(), dtype=np.float64), (MOST_POINTS - 1) // 3)
    return Points.of(kept.tolist(), values.tolist())


def _joined(first: Points, second: Points) -> Points:
    return Points.of([*first.steps, *second.steps], [*first.floats(), *second.floats()])
