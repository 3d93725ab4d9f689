"""The chart mode: a list of the curves at the left, the charts, and below them the whole run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from torchconsole.engine.text import printable
from torchconsole.tui.charts.canvas import Line, padded
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.plot import draw_plot
from torchconsole.tui.charts.readout import value_at
from torchconsole.tui.charts.run_scene import groups_of
from torchconsole.tui.charts.stack import Scene, Stack
from torchconsole.tui.charts.x_axis import XAxis
from torchconsole.tui.charts.y_axis import choose, needed_range
from torchconsole.tui.formatting import format_count, format_lr, format_metric
from torchconsole.tui.table import padded as padded_text
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.frames import framed, inner_size

LIST_WIDTH, SIGN_WIDTH = 30, 3
_LIST_FROM, _OVERVIEW_FROM = 100, 28
"""Columns from which the list of curves is shown, and rows from which the whole run is."""

_OVERVIEW_ROWS = 2


def is_overview(y: int, height: int, *, has_frame: bool) -> bool:
    """Whether the whole run is drawn in line `y` of the chart mode."""
    bottom = height - has_frame
    return height >= _OVERVIEW_FROM and bottom - _OVERVIEW_ROWS <= y < bottom


def list_width(width: int) -> int:
    """Return the columns of the list of curves; 0 without room for it."""
    return LIST_WIDTH if width >= _LIST_FROM else 0


def draw_mode(
    stack: Stack,
    scene: Scene,
    whole: XAxis,
    curves: Mapping[str, Curve],
    shown: Collection[str],
    first: str,
    keys: Sequence[tuple[str, str]],
    width: int,
    height: int,
) -> list[Line]:
    """Return the lines of the chart mode.

    `keys` are the keys, and what they do. `curves` has every metric of the run, `shown` the names of those
    that are drawn, `first` the large chart.
    """
    left = list_width(width)
    has_overview = height >= _OVERVIEW_FROM and bool(scene.panels[0].curves)
    charts = stack.draw(scene, width - left, height - (_OVERVIEW_ROWS + 1) * has_overview)
    if has_overview:
        charts = _with_overview(charts, scene, whole, stack, width - left)
    if not left:
        return charts
    title: Line = [("curves", "bold strong")]
    remark: Line = [("at the cursor" if scene.cursor is not None else "latest", "faint")]
    inner, rows = inner_size(left - 1, height, boxed=scene.has_frame)
    listed = _list(curves, shown, scene, first, inner)
    listed.append(padded([], inner))
    listed += [padded([(f" {key:<6}", "bold strong"), (word, "muted")], inner) for key, word in keys]
    listed += [padded([], inner)] * (rows - len(listed))
    box = framed(listed[:rows], left - 1, height, title, remark, has_focus=False, boxed=scene.has_frame)
    return [[*row, (" ", "text"), *line] for row, line in zip(box, charts, strict=False)]


def _list(
    curves: Mapping[str, Curve], shown: Collection[str], scene: Scene, first: str, width: int
) -> list[Line]:
    """Return, for each chart, the names and values of its curves."""
    lines: list[Line] = []
    for group, metrics in groups_of(list(curves)).items():
        ground = " on select" if group == first else ""
        for metric in metrics:
            curve = curves[metric]
            value = curve.last if scene.cursor is None else value_at(curve, scene.cursor)
            text = "-" if value is None else (format_lr if metric == "lr" else format_metric)(value)
            is_shown = metric in shown
            room = width - len(text) - 4
            name = shorten(printable(metric), room - 1, "middle")
            lines.append(
                [
                    (f" {'■' if is_shown else '○'} ", f"{curve.tone if is_shown else 'faint'}{ground}"),
                    (padded_text(name, room), f"{'text' if is_shown else 'faint'}{ground}"),
                    (f"{text} ", f"{_value_tone(curve, value, is_shown)}{ground}"),
                ]
            )
    return lines


def _value_tone(curve: Curve, value: float | None, is_shown: bool) -> str:
    if value is not None and not math.isfinite(value):
        return "bad"
    return f"bold {curve.tone}" if is_shown else "faint"


def _with_overview(charts: list[Line], scene: Scene, whole: XAxis, stack: Stack, width: int) -> list[Line]:
    """Put the whole run below the charts, within their frame if they have one."""
    inner = width - 2 * scene.has_frame
    lines = _overview(scene, whole, stack, inner)
    if not scene.has_frame:
        return [*charts, [("─" * width, "rule")], *lines]
    side = ("│", "rule")
    *upper, bottom = charts
    framed_lines = [[side, *padded(line, inner), side] for line in lines]
    return [*upper, [(f"├{'─' * inner}┤", "rule")], *framed_lines, bottom]


def _overview(scene: Scene, whole: XAxis, stack: Stack, width: int) -> list[Line]:
    """Return the first chart's curves over the whole run, with the window on it."""
    gutter = stack.plot_left - scene.has_frame
    x = XAxis(whole.start, whole.end, max(2, width - gutter - 1))
    curves = scene.panels[0].curves
    needed = needed_range(curves, x, log=scene.panels[0].is_log)
    if needed is None or stack.x is None:
        return [[]] * _OVERVIEW_ROWS
    y = choose(*needed, _OVERVIEW_ROWS, log=scene.panels[0].is_log)
    plain = replace(y, ticks=())
    style = replace(scene.style, has_band=False, has_vertical_grid=False)
    canvas = draw_plot([_unmarked(curve) for curve in curves], x, plain, style)
    first, last = (x.column_of(step) for step in stack.x.steps())
    if first > 0 or last < x.columns - 1:
        canvas.paint((slice(None), slice(max(0, first), max(0, last) + 1)), "select")
        for column in (first, last):
            for row in range(_OVERVIEW_ROWS):
                canvas.put_at(row, column, "┃", "muted", "select")
    names = ("all", f"0–{format_count(whole.end)}")  # noqa: RUF001
    labels = [[(f"{name[: gutter - 1]:>{gutter - 1}} ", "faint")] if gutter else [] for name in names]
    return [[*label, *line] for label, line in zip(labels, canvas.lines(), strict=True)]


def _unmarked(curve: Curve) -> Curve:
    kind = "exact" if curve.kind == "evaluations" else curve.kind
    return Curve(curve.label, curve.tone, curve.rows, kind, smoothing=curve.smoothing)
