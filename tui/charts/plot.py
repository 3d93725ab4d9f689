"""The plot of a chart: grid, band, lines, marks and clipped values, on a canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.protocol.buckets import Rows, group_starts
from torchconsole.tui.charts import braille
from torchconsole.tui.charts.canvas import Canvas
from torchconsole.tui.charts.columns import column_extremes, line_points, merged_columns
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.x_axis import XAxis
from torchconsole.tui.charts.y_axis import YAxis
from torchconsole.tui.formatting import format_number

_THICK_FROM_ROWS, _RAW_FROM_ROWS = 14, 5
"""Rows from which a line is two dots thick, and from which raw values are shown, not only the line."""

_MARK_EVERY = 3
"""Columns that share the mark of an evaluation. A fixed number, so that a mark stays where it is."""

_PLAN_EVERY = 3
_DOTS_EVERY = 4
"""Columns from one dot of a dotted grid to the next."""

_EIGHTHS = np.array([ord(character) for character in " ▁▂▃▄▅▆▇"], dtype=np.uint32)


@dataclass(frozen=True)
class PlotStyle:
    """What a terminal can show. Bands and shades need backgrounds; a grid of few colors is dotted.
    On a slow line some of it is left out (`tui/line_speed.py`).

    Without `has_colors`, validation is drawn as marks without a line.
    """

    has_band: bool = True
    has_shade: bool = True
    has_colors: bool = True
    has_grid_lines: bool = True
    has_vertical_grid: bool = True


COLORLESS = PlotStyle(
    has_band=False, has_shade=False, has_colors=False, has_grid_lines=False, has_vertical_grid=False
)
"""For text without colors, such as a command's output."""


@dataclass(frozen=True)
class Surroundings:
    """What is in a plot besides its curves, in columns of cells; `now` is the last one that is past."""

    now: int | None = None
    changes: Sequence[int] = ()
    cursor: int | None = None


def draw_plot(
    curves: Sequence[Curve],
    x: XAxis,
    y: YAxis,
    style: PlotStyle = PlotStyle(),  # immutable
    around: Surroundings = Surroundings(),
) -> Canvas:
    """Draw curves, the later ones above the earlier ones."""
    canvas = Canvas(x.columns, y.rows)
    plot = _Plot(canvas, x, y, style)
    if around.now is not None and around.now + 1 < x.columns and style.has_shade:
        canvas.paint((slice(None), slice(max(0, around.now + 1), None)), "future")
    plot.draw_grid()
    drawn = [curve for curve in curves if len(curve.finite.steps)]
    if style.has_band:
        for curve in drawn:
            if curve.has_band and y.rows >= _RAW_FROM_ROWS:
                plot.draw_band(curve)
    plot.draw_changes(around.changes)
    plot.draw_lines([curve for curve in drawn if style.has_colors or curve.kind != "evaluations"])
    for curve in drawn:
        if curve.kind == "evaluations":
            plot.draw_evaluations(curve)
    plot.draw_nonfinite(curves)
    plot.draw_clipped([curve for curve in drawn if curve.kind in ("line", "evaluations")])
    if around.cursor is not None and 0 <= around.cursor < x.columns:
        plot.draw_cursor(around.cursor)
    return canvas


class _Plot:
    """Draws the parts of a plot, one above the other."""

    def __init__(self, canvas: Canvas, x: XAxis, y: YAxis, style: PlotStyle) -> None:
        self._canvas, self._x, self._y, self._style = canvas, x, y, style
        self._in_band = np.zeros((y.rows, x.columns), dtype=bool)

    def draw_grid(self) -> None:
        across = np.zeros(self._in_band.shape, dtype=bool)
        down = across.copy()
        across[[row for row, _ in self._y.ticks]] = True
        if not self._style.has_grid_lines:
            across[:, np.arange(self._x.columns) % _DOTS_EVERY != 0] = False
            self._canvas.put(across, "·", "grid")
            return
        if self._style.has_vertical_grid:
            down[:, [column for column, _ in self._x.ticks() if 0 <= column < self._x.columns]] = True
        self._canvas.put(across & ~down, "─", "grid")
        self._canvas.put(down & ~across, "│", "grid")
        self._canvas.put(down & across, "┼", "grid")

    def draw_band(self, curve: Curve) -> None:
        """Tint the range of the raw values in each column, in steps of an eighth of a cell."""
        columns, rows = merged_columns(curve.finite, self._x)
        size = self._y.rows
        above = np.clip(np.round(8 * self._y.places(rows.p95)), 0, 8 * size).astype(np.int64)
        below = np.clip(np.round(8 * self._y.places(rows.p5)), 0, 8 * size).astype(np.int64)
        edges = 8 * np.arange(size)[:, None]
        # Eighths of each cell above the band, and below it.
        free_above, free_below = np.clip(above - edges, 0, 8), np.clip(edges + 8 - below, 0, 8)
        whole = (free_above == 0) & (free_below == 0)
        upper = (free_below == 0) & (free_above > 0) & (free_above < 8)
        lower = (free_above == 0) & (free_below > 0) & (free_below < 8)
        codes = np.zeros((size, len(columns)), dtype=np.uint32)
        codes[upper] = _EIGHTHS[8 - free_above[upper]]
        codes[lower] = _EIGHTHS[free_below[lower]]
        place = np.zeros(self._in_band.shape, dtype=bool)

        def cells(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
            found = place.copy()
            found[:, columns] = mask
            return found

        all_codes = np.zeros(self._in_band.shape, dtype=np.uint32)
        all_codes[:, columns] = codes
        self._in_band |= cells(8 - free_above - free_below >= 4)
        on_grid = ~self._canvas.is_blank
        self._canvas.put(cells(whole) & on_grid, self._canvas.codes, "gridband")
        self._canvas.paint(cells(whole), "band")
        self._canvas.put(cells(upper) & ~on_grid, all_codes, "band")
        self._canvas.put(cells(lower) & ~on_grid, all_codes, "bg", "band")
        mostly = cells(upper | lower) & on_grid & self._in_band
        self._canvas.put(mostly, self._canvas.codes, "gridband", "band")

    def draw_changes(self, columns: Sequence[int]) -> None:
        for column in columns:
            if 0 <= column < self._x.columns:
                line = np.zeros(self._in_band.shape, dtype=bool)
                line[:, column] = True
                self._canvas.put(line, "┊", "steerdim")

    def draw_lines(self, curves: Sequence[Curve]) -> None:
        """Draw all lines; a cell has the dots of each, and the color of the last one in it."""
        bits = np.zeros(self._in_band.shape, dtype=np.uint32)
        tones: list[tuple[NDArray[np.uint32], str]] = []
        for curve in curves:
            own = braille.pack(self._dots(curve))
            bits |= own
            tones.append((own, curve.tone))
        codes = braille.characters(bits)
        has_dots = bits > 0
        self._canvas.put(has_dots, codes, "text")
        for own, tone in tones:
            self._canvas.put(own > 0, codes, tone)
        if self._in_band.any():
            self._canvas.paint(has_dots & self._in_band, "band")
            self._canvas.paint(has_dots & ~self._in_band & self._canvas.has_ground("band"), "")

    def _dots(self, curve: Curve) -> NDArray[np.bool_]:
        columns, values = line_points(curve, self._x)
        height = self._y.rows * braille.DOTS_DOWN
        places = np.clip(self._y.places(values), -1.0, self._y.rows + 1.0) * braille.DOTS_DOWN - 0.5
        dots = braille.draw_polyline(columns, places, self._x.dots, height)
        if curve.kind == "plan":
            dots[:, np.arange(self._x.dots) % _PLAN_EVERY != 0] = False
        if curve.kind == "line" and self._y.rows >= _THICK_FROM_ROWS:
            dots[1:] |= dots[:-1].copy()
        return dots

    def draw_evaluations(self, curve: Curve) -> None:
        """Mark evaluations by •, one in a few columns, the last one by its sign and the best one by ★."""
        rows = curve.finite
        columns = self._x.columns_of(rows.steps)
        visible = np.flatnonzero((columns >= 0) & (columns < self._x.columns))
        if not len(visible):
            return
        starts = group_starts(columns[visible] // _MARK_EVERY)
        chosen = visible[np.append(starts[1:], len(visible)) - 1]
        signs = [(index, "•", curve.tone) for index in chosen.tolist()]
        if visible[-1] == len(columns) - 1:
            signs.append((int(visible[-1]), curve.end_sign, curve.tone))
        best = np.flatnonzero(rows.steps == curve.best)
        if len(best):
            signs.append((int(best[0]), "★", "attn"))
        places = self._y.places(rows.values)
        for index, sign, tone in signs:
            if 0 <= places[index] <= self._y.rows:
                row = min(int(places[index]), self._y.rows - 1)
                self._put_keeping_band(row, int(columns[index]), sign, tone)

    def draw_nonfinite(self, curves: Sequence[Curve]) -> None:
        """Mark where values begin to be not finite by ✗: at the line's end, or at the edge for infinities."""
        for curve in curves:
            rows = curve.nonfinite
            columns = self._x.columns_of(rows.steps)
            fresh = np.diff(columns, prepend=-2) > 1
            inside = (columns >= 0) & (columns < self._x.columns)
            for index in np.flatnonzero(fresh & inside).tolist():
                self._put_keeping_band(
                    self._nonfinite_row(curve, rows, index), int(columns[index]), "✗", "bad"
                )

    def _nonfinite_row(self, curve: Curve, rows: Rows, index: int) -> int:
        value = rows.values[index]
        before = int(np.searchsorted(curve.finite.steps, rows.steps[index])) - 1
        if np.isnan(value) and before >= 0:
            place = float(self._y.places(curve.line[before : before + 1])[0])
            return min(self._y.rows - 1, max(0, int(np.clip(place, 0, self._y.rows))))
        return self._y.rows - 1 if value < 0 else 0

    def draw_clipped(self, curves: Sequence[Curve]) -> None:
        """Mark the columns whose values leave the chart by ▲ and ▼, with the most extreme value."""
        for row, sign, is_high in ((0, "▲", True), (self._y.rows - 1, "▼", False)):
            found: list[tuple[float, int]] = []
            for curve in curves:
                rows = curve.finite
                if self._y.rows < _RAW_FROM_ROWS:
                    rows = rows._replace(low=curve.line, high=curve.line)
                columns, values = column_extremes(rows, self._x, is_high=is_high)
                places = self._y.places(values)
                leaves = places < -1e-6 if is_high else places > self._y.rows + 1e-6
                found += zip(values[leaves].tolist(), columns[leaves].tolist(), strict=True)
            for _, column in found:
                self._put_keeping_band(row, column, sign, "faint")
            if found and self._y.rows > 2:
                value, column = max(found) if is_high else min(found)
                self._label_clipped(row, column, format_number(value), {place for _, place in found})

    def _label_clipped(self, row: int, column: int, text: str, taken: set[int]) -> None:
        """Write a clipped value right of its arrows, or left of them at the right edge."""
        right = column + 1
        while right in taken:
            right += 1
        if right + len(text) + 2 <= self._x.columns:
            self._canvas.put_at(row, right, f" {text} ", "faint")
            return
        left = column - 1
        while left in taken:
            left -= 1
        if left - len(text) + 1 >= 0:
            self._canvas.put_at(row, left - len(text) + 1, text, "faint")

    def draw_cursor(self, column: int) -> None:
        line = np.zeros(self._in_band.shape, dtype=bool)
        line[:, column] = True
        self._canvas.put(line & ~self._canvas.has_dots, "│", "muted")

    def _put_keeping_band(self, row: int, column: int, sign: str, tone: str) -> None:
        if not 0 <= column < self._x.columns:
            return
        ground = "band" if self._in_band[row, column] else None
        if ground is None and self._canvas.has_ground("band")[row, column]:
            ground = ""
        self._canvas.put_at(row, column, sign, tone, ground)
