"""The charts of the finders: loss over lr, and samples per second over batch size or loader workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.protocol.buckets import Rows
from torchconsole.tui.charts.canvas import Line
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.plot import COLORLESS, PlotStyle
from torchconsole.tui.charts.single import draw_curves
from torchconsole.tui.charts.x_axis import Unit

if TYPE_CHECKING:
    from torchconsole.engine.protocol.finder_reports import BatchSizeSearch, LoaderSearch, Search
    from torchconsole.engine.protocol.reports import LearningRateSearch

FINE = 10_000
"""The chart's steps to a decade of lr, to a doubling of a batch size, or to a worker."""

DECADES = Unit(
    "lr", lambda steps: steps / FINE, lambda x: x * FINE, lambda x: f"1e{x:.0f}", lambda x: f"{10**x:.2g}"
)
DOUBLINGS = Unit(
    "batch size",
    lambda steps: steps / FINE,
    lambda x: x * FINE,
    lambda x: f"{2**x:,.0f}",
    lambda x: f"{2**x:,.0f}",
)
WORKERS = Unit("data loader workers", lambda steps: steps / FINE, lambda x: x * FINE)


def draw_search(search: Search, width: int, height: int, style: PlotStyle) -> list[Line]:
    """Draw what a finder has found."""
    from torchconsole.engine.protocol.finder_reports import BatchSizeSearch, LoaderSearch

    if isinstance(search, BatchSizeSearch):
        return draw_batch_search(search, width, height, style)
    if isinstance(search, LoaderSearch):
        return draw_loader_search(search, width, height, style)
    return draw_lr_search(search, width, height, style)


def draw_lr_search(
    search: LearningRateSearch, width: int, height: int, style: PlotStyle = COLORLESS
) -> list[Line]:
    """Draw the smoothed loss over the lr, with ★ at the steepest point and ○ at a tenth of the minimum."""
    if not search.losses:
        return []
    places, smoothed = _places(np.log10(search.lrs)), np.array(search.smoothed)
    curves = [Curve.of("", "train", places, smoothed)]
    if search.steepest is not None and search.tenth is not None:
        steepest, tenth = (_places(np.log10([lr])) for lr in (search.steepest, search.tenth))
        curves.append(_marked(tenth, np.interp(tenth, places, smoothed)))
        curves.append(_marked(steepest, np.interp(steepest, places, smoothed), best=int(steepest[0])))
    return _drawn(curves, places, width, height, DECADES, style)


def draw_batch_search(
    search: BatchSizeSearch, width: int, height: int, style: PlotStyle = COLORLESS
) -> list[Line]:
    """Draw the samples per second over the batch size, with ★ at the knee."""
    reached = {trial.batch_size: trial.samples_per_second or 0.0 for trial in search.trials if trial.fits}
    places = _places(np.log2(list(reached)))
    return _draw_throughput(places, reached, search.knee, width, height, DOUBLINGS, style)


def draw_loader_search(
    search: LoaderSearch, width: int, height: int, style: PlotStyle = COLORLESS
) -> list[Line]:
    """Draw the samples per second of a training over the data loader workers, with ★ at the knee."""
    if not search.trials:
        return []
    reached = {trial.num_workers: trial.trained for trial in search.trials}
    places = _places(np.array(list(reached), dtype=np.float64))
    return _draw_throughput(places, reached, search.knee, width, height, WORKERS, style)


def _draw_throughput(
    places: NDArray[np.int64],
    reached: Mapping[int, float],
    knee: int,
    width: int,
    height: int,
    unit: Unit,
    style: PlotStyle,
) -> list[Line]:
    best = int(places[list(reached).index(knee)])
    curves = [
        Curve.of("", "train", places, np.array(list(reached.values()))),
        _marked(np.array([best]), np.array([reached[knee]]), best=best),
    ]
    return _drawn(curves, places, width, height, unit, style)


def _marked(places: NDArray[np.int64], values: NDArray[np.float64], best: int | None = None) -> Curve:
    """Return a mark: ★ at the place `best`, else ○, which also in ASCII is another sign."""
    return Curve("", "val", Rows.single(places, values), "evaluations", best=best, end_sign="○")


def _drawn(
    curves: Sequence[Curve],
    places: NDArray[np.int64],
    width: int,
    height: int,
    unit: Unit,
    style: PlotStyle,
) -> list[Line]:
    start = int(places[0])
    end = max(int(places[-1]), start + 1)
    return draw_curves(curves, width, height, start=start, end=end, unit=unit, style=style)


def _places(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the chart's steps of values of its unit; shape (N,)."""
    return np.round(values * FINE).astype(np.int64)
