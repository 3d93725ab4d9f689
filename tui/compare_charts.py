"""Draws the curves of compared runs: a chart for each metric, on one x axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from torchconsole.engine.protocol.buckets import Rows
from torchconsole.engine.text import printable
from torchconsole.tui.charts.canvas import Canvas
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.gutter import empty_plot, value_labels, x_labels
from torchconsole.tui.charts.plot import PlotStyle, Surroundings, draw_plot
from torchconsole.tui.charts.x_axis import XAxis
from torchconsole.tui.charts.y_axis import YAxis, choose, needed_range
from torchconsole.tui.compare_view import CompareView
from torchconsole.tui.comparison import ComparedRun, SeedGroup
from torchconsole.tui.palette import COMPARED
from torchconsole.tui.run_rows import status_look, status_word
from torchconsole.tui.widgets.lines import Line

GUTTER = 8

LEAST_ROWS = 5
"""Of a chart with its title. Metrics for which this leaves no room have no chart."""

LOG_RATIO = 8.0
"""The y axis is logarithmic if the highest value is this many times the lowest one, unless the user chose."""

GROUP_POINTS = 1000
"""Points of the mean of runs that differ in the seed alone."""


def run_tone(index: int) -> str:
    """Return the color of a run."""
    return COMPARED[index % len(COMPARED)]


@dataclass(frozen=True)
class DrawnChart:
    """A chart. `columns` is the width of its plot, `scale` names the scale of its y axis as it is drawn."""

    lines: list[Line]
    columns: int
    is_log: bool
    scale: str


def plot_place(width: int) -> tuple[int, int]:
    """Return where the plot of a chart begins, and its columns."""
    gutter = GUTTER if width >= 40 else 6
    return gutter, max(2, width - gutter - 1)


def draw_chart(view: CompareView, width: int, rows: int, style: PlotStyle) -> DrawnChart:
    """Draw the metric of all shown runs, with the best value and the end of each."""
    gutter, columns = plot_place(width)
    first, last = view.span
    start, end = view.x_unit.of_steps(np.array([first, max(last, first + 1)])).tolist()
    x = XAxis(start, end, columns, view.x_unit)
    curves = _curves(view)
    is_log = _is_log(view, curves)
    needed = needed_range(curves, x, log=is_log)
    plot_rows = rows - 1
    if needed is None or plot_rows < 2:
        return DrawnChart(empty_plot(width, rows), columns, is_log, "log" if is_log else "lin")
    y = choose(*needed, plot_rows, log=is_log)
    cursor = None if view.cursor is None else x.column_of(view.cursor)
    canvas = draw_plot(curves, x, y, style, Surroundings(cursor=cursor))
    grouped = _grouped(view)
    for index in view.shown:
        if index not in grouped:
            sign = status_look(status_word(view.comparison.runs[index].record))[0]
            _draw_signs(canvas, view, index, x, y, sign if style.has_colors else str(index + 1))
    labels = value_labels(y, gutter)
    lines = [[*label, *line] for label, line in zip(labels, canvas.lines(), strict=True)]
    return DrawnChart([*lines, x_labels(x, gutter, view.cursor)], columns, is_log, y.scale)


def draw_charts(view: CompareView, width: int, rows: int, style: PlotStyle) -> DrawnChart:
    """Draw the chosen metrics as far as there is room; the lowest chart carries the labels of the x axis."""
    count = max(1, min(len(view.metrics), rows // LEAST_ROWS))
    share = (rows - 1) // count
    first = draw_chart(view, width, rows - share * (count - 1), style)
    lines = first.lines if count == 1 else first.lines[:-1]
    for number, metric in enumerate(view.metrics[1:count], 2):
        is_last = number == count
        chart = draw_chart(replace(view, metric=metric), width, share, style)
        lines += [[(f" {printable(metric)}", "bold strong")], *(chart.lines if is_last else chart.lines[:-1])]
    return replace(first, lines=lines)


def _grouped(view: CompareView) -> set[int]:
    """Return the runs that are drawn as a mean and a range."""
    return {index for group in shown_groups(view) for index in group.members}


def shown_groups(view: CompareView) -> list[SeedGroup]:
    """Return the groups of shown runs that differ in the seed alone."""
    if not view.is_grouped:
        return []
    shown = set(view.shown)
    groups = (
        SeedGroup([index for index in group.members if index in shown]) for group in view.comparison.groups
    )
    return [group for group in groups if len(group.members) > 1]


def _is_log(view: CompareView, curves: Sequence[Curve]) -> bool:
    """Whether the y axis is logarithmic: as the user chose, else if the values differ much."""
    if view.log is not None:
        return view.log
    lines = [curve.line for curve in curves if len(curve.line)]
    values = np.concatenate(lines) if lines else np.empty(0)
    return bool(len(values)) and float(values.min()) > 0 and float(values.max() / values.min()) >= LOG_RATIO


def _curves(view: CompareView) -> list[Curve]:
    """Return the curves of the shown runs; the reference is drawn last, above the others."""
    grouped = _grouped(view)
    single = [index for index in view.shown if index not in grouped]
    single.sort(key=lambda index: index == view.reference)
    curves = [_mean_curve(view, group) for group in shown_groups(view)]
    curves += [_curve(view, index) for index in single]
    return [curve for curve in curves if curve is not None]


def _curve(view: CompareView, index: int) -> Curve | None:
    run = view.comparison.runs[index]
    series = run.series(view.metric)
    if series is None:
        return None
    return Curve("", run_tone(index), _placed(view, run, series.rows), smoothing=view.smoothing)


def _placed(view: CompareView, run: ComparedRun, rows: Rows) -> Rows:
    """Return rows at their positions on the x axis."""
    factor = view.factor(run)
    return rows if factor == 1 else rows._replace(steps=np.round(rows.steps * factor).astype(np.int64))


def _mean_curve(view: CompareView, group: SeedGroup) -> Curve | None:
    """Return the mean of runs, with their range as the band, at the steps that all of them have reached."""
    found: list[Rows] = []
    for index in group.members:
        run = view.comparison.runs[index]
        series = run.series(view.metric)
        if series is None:
            continue
        rows = _placed(view, run, series.rows)
        rows = rows.take(np.isfinite(rows.values))
        if len(rows.steps):
            found.append(rows)
    if not found:
        return None
    first, last = max(rows.steps[0] for rows in found), min(rows.steps[-1] for rows in found)
    if first > last:
        return None
    # Dense, so that the band has no gaps between evaluations.
    steps = np.unique(np.round(np.linspace(first, last, GROUP_POINTS)).astype(np.int64))
    values = np.array([np.interp(steps, rows.steps, rows.values) for rows in found])
    low, high, mean = values.min(axis=0), values.max(axis=0), values.mean(axis=0)
    rows = Rows(steps, np.ones(len(steps), dtype=np.int64), mean, low, high, low, high)
    return Curve("", run_tone(group.members[0]), rows, has_band=True, smoothing=view.smoothing)


def _draw_signs(canvas: Canvas, view: CompareView, index: int, x: XAxis, y: YAxis, end: str) -> None:
    """Mark the best value by ★, and the end of the run by a sign: that of its status, or its number."""
    run = view.comparison.runs[index]
    series, best = run.series(view.metric), run.best(view.metric)
    if series is None:
        return
    marks = [(int(series.steps[-1]), float(series.values[-1]), end)]
    if best is not None:
        marks.insert(0, (*best, "★"))
    for step, value, shown in marks:
        column = x.column_of(step * view.factor(run))
        if not math.isfinite(value) or not 0 <= column < x.columns:
            continue
        place = float(y.places(np.array([value]))[0])
        if 0 <= place <= y.rows:
            canvas.put_at(min(int(place), y.rows - 1), column, shown, run_tone(index))
