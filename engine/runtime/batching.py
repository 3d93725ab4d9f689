"""Batches of metrics: many logged steps as one event, two events as one, and long series thinned out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from torchconsole.engine.protocol.events import MetricsLogged
from torchconsole.engine.protocol.points import MetricsPoint, Points, decimate

MOST_POINTS = 1000
"""Points of a series in one event. A tenth of a second of short steps passes whole: thinning costs more."""

BUCKETS = 100
"""Buckets whose extremes are left of a longer series: they say as much on any screen."""


def batch(points: Sequence[MetricsPoint], first_seq: int, seq: int) -> MetricsLogged:
    """One event for one or more logged steps, a series per metric, whole.

    `first_seq` and `seq` are the numbers of the first and the last step.
    """
    metrics = [point.metrics for point in points]
    steps = [point.step for point in points]
    last = points[-1]
    return MetricsLogged(
        first_seq=first_seq,
        seq=seq,
        time=last.time,
        step=last.step,
        epoch=last.epoch,
        active_seconds=last.active_seconds,
        series={name: _column(name, steps, metrics) for name in dict.fromkeys(chain.from_iterable(metrics))},
    )


def _column(name: str, steps: Sequence[int], metrics: Sequence[dict[str, float]]) -> Points:
    """One metric at the steps that have it."""
    values = [found[name] for found in metrics if name in found]
    if len(values) < len(steps):
        steps = [step for step, found in zip(steps, metrics, strict=True) if name in found]
    return Points.of(steps, values)


def thin(event: MetricsLogged) -> MetricsLogged:
    """The event with at most MOST_POINTS points in each series: of a longer one, the extremes of BUCKETS."""
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
    kept, values = decimate(*points.arrays(), BUCKETS)
    return Points.of(kept.tolist(), values.tolist())


def _joined(first: Points, second: Points) -> Points:
    steps, values = zip(first.arrays(), second.arrays(), strict=True)
    return Points.of(np.concatenate(steps).tolist(), np.concatenate(values).tolist())
