"""Charts one above the other on one x axis, with legends, the strip of marks and the labels of the axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torchconsole.tui.charts.canvas import Canvas, Line, cut, padded, width_of
from torchconsole.tui.charts.gutter import empty_plot, value_labels, x_labels
from torchconsole.tui.charts.legend import legend
from torchconsole.tui.charts.panels import Mark, Panel
from torchconsole.tui.charts.plot import PlotStyle, Surroundings, draw_plot
from torchconsole.tui.charts.readout import put_readout, readout
from torchconsole.tui.charts.x_axis import XAxis
from torchconsole.tui.charts.y_axis import YAxis, choose, needed_range
from torchconsole.tui.formatting import format_number
from torchconsole.tui.user_keys import toggle_hints

_WIDE_FROM = 78
_NAMES_FROM = 60
_STRIP_FROM, _LABELS_FROM = 7, 10
_LR_FROM, _LR_TITLE_FROM, _OTHERS_FROM = 13, 20, 44
"""Rows from which there is a strip, x labels, an lr chart, a title above it, and charts of other metrics."""

_SMALL_ROWS = 3
_SIGN_ORDER = "◆↺★▼"
"""Of several marks in a column, the first of these is shown."""


@dataclass(frozen=True)
class Scene:
    """What a stack of charts shows. `x` has any number of columns; `toggles` are (name, value).

    The first panel gets most rows, and the strip of marks; those in the middle go first. `now` is the last
    step of a live run. `is_dense`: as many panels as have four rows are shown. `scale` is the name of the
    toggle whose value is the scale of the first panel's y axis.
    """

    panels: Sequence[Panel]
    x: XAxis
    now: int | None = None
    marks: Sequence[Mark] = ()
    toggles: Sequence[tuple[str, str]] = ()
    cursor: float | None = None
    style: PlotStyle = field(default_factory=PlotStyle)
    has_frame: bool = False
    is_dense: bool = False
    scale: str = ""


class Stack:
    """Draws scenes. It keeps the y axis of each panel while the values stay within it.

    `x` is the axis that was drawn last, and `plot_left` the cells left of it.
    """

    def __init__(self) -> None:
        self._axes: dict[tuple[str, int, bool], YAxis] = {}
        self.plot_left = 0
        self.x: XAxis | None = None

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        """Return at most `height` lines of `width` cells."""
        if width < 2 or height < 1 or not scene.panels:
            return []
        has_frame = scene.has_frame
        inner = _Layout.of(len(scene.panels), width - 2 * has_frame, height - 1 - has_frame, scene.is_dense)
        if inner.rows[0] < 1:
            return [_indented(legend(scene.panels[0], width - 1, has_names=False))]
        scene = replace(scene, panels=_with_room(scene.panels, len(inner.rows)))
        x = XAxis(scene.x.start, scene.x.end, inner.columns, scene.x.unit)
        axes = [self._axis(panel, rows, x) for panel, rows in zip(scene.panels, inner.rows, strict=False)]
        gutter = max([inner.gutter, *(len(label) + 1 for axis in axes if axis for _, label in axis.ticks)])
        if gutter > inner.gutter:
            inner = inner.with_gutter(min(gutter, inner.gutter + inner.columns // 3))
            x = XAxis(scene.x.start, scene.x.end, inner.columns, scene.x.unit)
        self.plot_left = inner.gutter + has_frame
        body = self._body(scene, inner, x, axes)
        self.x = x
        head = legend(scene.panels[0], width, has_names=width >= _NAMES_FROM, at=scene.cursor)
        toggles = [*_scale_toggle(scene, axes[0]), *scene.toggles]
        top = _top_line(head, toggles, width, has_frame=has_frame)
        if not has_frame:
            return [top, *body]
        side = ("│", "rule")
        framed = [[side, *padded(line, width - 2), side] for line in body]
        return [top, *framed, [("╰" + "─" * (width - 2) + "╯", "rule")]]

    def _body(self, scene: Scene, layout: _Layout, x: XAxis, axes: Sequence[YAxis | None]) -> list[Line]:
        marks = [mark for mark in scene.marks if 0 <= x.column_of(mark.step) < x.columns]
        around = Surroundings(
            now=None if scene.now is None else x.column_of(scene.now),
            changes=[x.column_of(mark.step) for mark in marks if mark.sign == "◆"],
            cursor=None if scene.cursor is None else x.column_of(scene.cursor),
        )
        lines: list[Line] = []
        for number, (panel, axis) in enumerate(zip(scene.panels, axes, strict=False)):
            if number and layout.has_titles:
                wide = layout.gutter + layout.columns
                lines.append(_indented(legend(panel, wide - 1, has_names=True, at=scene.cursor)))
            rows = layout.rows[number]
            if axis is None:
                lines += empty_plot(layout.gutter + layout.columns, rows)
            else:
                quiet = around if not number else Surroundings(around.now, (), around.cursor)
                canvas = draw_plot(panel.curves, x, axis, scene.style, quiet)
                if scene.cursor is not None and not number:
                    put_readout(canvas, readout(panel, x, scene.cursor, marks), x.column_of(scene.cursor))
                labels = value_labels(axis, layout.gutter)
                if number and not layout.has_titles:
                    labels = _named_gutter(panel, rows, layout.gutter)
                lines += [[*label, *line] for label, line in zip(labels, canvas.lines(), strict=True)]
            if not number and layout.has_strip:
                lines.append(_strip(marks, scene.now, x, layout.gutter))
        if layout.has_labels:
            lines.append(x_labels(x, layout.gutter, scene.cursor))
        return lines

    def _axis(self, panel: Panel, rows: int, x: XAxis) -> YAxis | None:
        key = (panel.title, rows, panel.is_log)
        needed = needed_range(panel.curves, x, log=panel.is_log)
        if needed is None:
            return None
        kept = self._axes.get(key)
        if panel.is_exact and not panel.is_log:
            low, high = needed
            self._axes[key] = choose(min(low, 0.0), high, rows, exact=low >= 0)
        elif kept is None or not kept.fits(*needed):
            self._axes[key] = choose(*needed, rows, log=panel.is_log)
        return self._axes[key]


@dataclass(frozen=True)
class _Layout:
    """How many cells each part of a stack gets."""

    rows: Sequence[int]
    gutter: int
    columns: int
    has_strip: bool
    has_labels: bool
    has_titles: bool

    @classmethod
    def of(cls, panels: int, width: int, height: int, is_dense: bool) -> _Layout:
        """Divide `width` x `height` cells, without frame and legend, among the panels."""
        has_strip, has_labels = height >= _STRIP_FROM - 1, height >= _LABELS_FROM
        has_titles = height >= _LR_TITLE_FROM
        left = height - has_strip - has_labels
        others = _dense_others(panels - 1, height) if is_dense else _others(panels - 1, height)
        left -= sum(others) + len(others) * has_titles
        gutter = 8 if width >= _WIDE_FROM else 7 if width >= _NAMES_FROM else 6 if width >= 24 else 0
        pad = 1 if width >= _NAMES_FROM else 0
        return cls((left, *others), gutter, max(1, width - gutter - pad), has_strip, has_labels, has_titles)

    def with_gutter(self, gutter: int) -> _Layout:
        """Return the layout with room for wider labels."""
        columns = max(1, self.columns + self.gutter - gutter)
        return _Layout(self.rows, gutter, columns, self.has_strip, self.has_labels, self.has_titles)


def _others(count: int, height: int) -> list[int]:
    """Return the rows of the panels below the first one that have room."""
    if height < _LR_FROM or not count:
        return []
    if height < _LR_TITLE_FROM:
        return [_SMALL_ROWS]
    if height < _OTHERS_FROM or count == 1:
        return [5]
    fitting = min(count, 3 + (height - _OTHERS_FROM) // 6)
    return [5, *[3] * (fitting - 2), 4]


def _dense_others(count: int, height: int) -> list[int]:
    """Return four rows for each panel below the first one, which keeps ten at least."""
    if height < _LR_TITLE_FROM:
        return _others(count, height)
    return [4] * min(count, max(1, (height - 14) // 5))


def _with_room(panels: Sequence[Panel], count: int) -> list[Panel]:
    """Return the first panel and the last one, which is the lr, and those between that have room."""
    return [*panels[: count - 1], panels[-1]] if count > 1 else [panels[0]]


def _indented(line: Line) -> Line:
    return [(" ", "text"), *line]


def _scale_toggle(scene: Scene, axis: YAxis | None) -> list[tuple[str, str]]:
    """Return the toggle of the scale: as the axis is drawn or, before there is one, as the user wants it."""
    wanted = "log" if scene.panels[0].is_log else "lin"
    return [(scene.scale, axis.scale if axis else wanted)] if scene.scale else []


def _top_line(head: Line, shown: Sequence[tuple[str, str]], width: int, *, has_frame: bool) -> Line:
    """Return the upper edge: a rule with the legend in it, and the toggles that fit at the right."""
    if width < _NAMES_FROM:
        return padded(_indented(head), width)
    left, right = ("╭─ ", "─╮") if has_frame else ("─ ", "─")
    room = width - len(left) - len(right) - 1
    while shown and width_of(head) + width_of(toggle_hints(shown)) + 3 > room:
        shown = [*shown[:1], *shown[2:]] if len(shown) > 1 else []
    toggles = toggle_hints(shown)
    head = cut(head, room)
    tail = [(" ", "rule"), *toggles, (" ", "rule")] if toggles else []
    gap = width - len(left) - len(right) - width_of(head) - width_of(tail) - 1
    return [(left, "rule"), *head, (" " + "─" * gap, "rule"), *tail, (right, "rule")]


def _named_gutter(panel: Panel, rows: int, width: int) -> list[Line]:
    """Return a panel's name and latest value in place of the labels of its axis."""
    value = next((curve.last for curve in panel.curves if curve.last is not None), None)
    texts = [(panel.title, "bold strong")]
    if value is not None:
        fitting = (text for digits in (2, 1) if len(text := format_number(value, digits)) < width)
        texts.append((next(fitting, ""), f"bold {panel.curves[0].tone}"))
    texts += panel.short_note
    texts += [("", "faint")] * (rows - len(texts))
    return [[(f"{text[: width - 1]:>{width - 1}} ", tone)] if width else [] for text, tone in texts[:rows]]


def _strip(marks: Sequence[Mark], now: int | None, x: XAxis, gutter: int) -> Line:
    """Return the row of marks: of those in one column the first of ◆ ↺ ★ ▼, and ● where the run is."""
    canvas = Canvas(x.columns, 1)
    canvas.put_at(0, 0, "─" * x.columns, "grid")
    ranked = sorted(marks, key=lambda mark: -_SIGN_ORDER.find(mark.sign))
    for mark in ranked:
        canvas.put_at(0, x.column_of(mark.step), mark.sign, mark.tone)
    if now is not None:
        canvas.put_at(0, x.column_of(now), "●", "text")
    label = [(f"{'marks'[: gutter - 1]:>{gutter - 1}} ", "faint")] if gutter else []
    return [*label, *canvas.lines()[0]]
