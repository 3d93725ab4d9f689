"""One chart by itself, for previews and for the command line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from torchconsole.tui.charts.canvas import Line
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.gutter import empty_plot, value_labels, x_labels
from torchconsole.tui.charts.plot import PlotStyle, draw_plot
from torchconsole.tui.charts.x_axis import STEPS, Unit, XAxis, round_end
from torchconsole.tui.charts.y_axis import choose, needed_range

_LEAST_GUTTER, _WIDEST_GUTTER = 6, 12
_GUTTER_FROM = 24
_LABELS_FROM = 4


def draw_curves(
    curves: Sequence[Curve],
    width: int,
    height: int,
    *,
    log: bool = False,
    exact: bool = False,
    start: int = 0,
    end: int | None = None,
    unit: Unit = STEPS,
    style: PlotStyle = PlotStyle(),  # noqa: B008  # immutable
) -> list[Line]:
    """Draw curves from step `start` to `end`, by default a little beyond the last one, with both axes.

    With `exact`, nothing is clipped and the axis begins at 0, as for an lr.
    """
    if width < 2 or height < 1:
        return []
    lasts = [int(curve.rows.steps[-1]) for curve in curves if len(curve.rows.steps)]
    last = end or round_end(max(lasts, default=1))
    first, final = unit.of_steps(np.array([start, last], dtype=np.float64)).tolist()
    rows = height - (height >= _LABELS_FROM)
    needed = needed_range(curves, XAxis(first, final, 2, unit), log=log)
    if needed is None:
        return empty_plot(width, height)
    low = min(0.0, needed[0]) if exact else needed[0]
    y = choose(low, needed[1], rows, log=log, exact=exact)
    widest = max((len(label) + 1 for _, label in y.ticks), default=0)
    gutter = min(max(_LEAST_GUTTER, widest), _WIDEST_GUTTER) if width >= _GUTTER_FROM else 0
    x = XAxis(first, final, width - gutter, unit)
    plot = draw_plot(curves, x, y, style).lines()
    labels = value_labels(y, gutter, has_edge=not style.has_colors)
    labelled = [[*label, *line] for label, line in zip(labels, plot, strict=True)]
    return [*labelled, *([x_labels(x, gutter)] if rows < height else [])]
