"""Batches of metrics: many logged steps as one event, two events as one, and long series thinned out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from torchconsole.engine.protocol.events import MetricsLogged
from torchconsole.engine.protocol.points import MetricsPoint, Points, decimate

MOST_POINTS = 1000
"""Points of a series in one event. A tenth of a second of short steps passes whole: thinning costs more."""

MOST_WAITED = 100
"""Points of a series in an event that had to wait: who reads slowly gets little, enough for any screen."""


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


def thin(event: MetricsLogged, most: int = MOST_POINTS) -> MetricsLogged:
    """The event with at most `most` points in each series: of a longer one, the extremes."""
    if all(len(points.steps) <= most for points in event.series.values()):
        return event
    series = {name: _thinned(points, most) for name, points in event.series.items()}
    return event.model_copy(update={"series": series, "gap": True})


def merge(earlier: MetricsLogged, later: MetricsLogged) -> MetricsLogged:
    """One event in the place of two, thinned."""
    series = dict(earlier.series)
    for name, points in later.series.items():
        series[name] = _joined(series[name], points) if name in series else points
    update = {"series": series, "first_seq": earlier.first_seq, "gap": earlier.gap or later.gap}
    return thin(later.model_copy(update=update), MOST_WAITED)


def _thinned(points: Points, most: int) -> Points:
    if len(points.steps) <= most:
        return points
    steps, values = decimate(*points.arrays(), (most - 1) // 3)
    return Points.of(steps.tolist(), values.tolist())


def _joined(first: Points, second: Points) -> Points:
    steps, values = zip(first.arrays(), second.arrays(), strict=True)
    return Points.of(np.concatenate(steps).tolist(), np.concatenate(values).tolist())
