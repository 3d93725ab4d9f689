"""A line chart of metrics over steps, drawn in braille.

Curves are decimated to the lowest and the highest dot of each column.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from torchconsole.tui.formatting import format_count, format_metric, format_number
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets import axes, braille
from torchconsole.tui.widgets.lines import Line, LineWidget, Span, line_width

_GUTTER, _WIDEST_GUTTER = 8, 15
"""Columns left of the plot for the value labels: enough for most of them, and the most for the longest."""

_GUTTER_FROM_WIDTH = 30
_STEPS_FROM_HEIGHT = 5
_MARK = ord("•")
_MARK_EVERY = 3
"""Columns that share a mark. A fixed number: where a mark is must not depend on points elsewhere."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One metric over steps. steps, values: (N,), steps ascending; values may be non-finite.

    `marked` puts a visible dot on each point or, where points are dense, on the last one of a few columns.
    `faint` draws a dotted line.
    """

    label: str
    tone: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    marked: bool = False
    faint: bool = False

    @cached_property
    def is_finite(self) -> NDArray[np.bool_]:
        """Whether each value is finite, shape (N,)."""
        return np.isfinite(self.values)

    @property
    def first_nonfinite(self) -> tuple[int, str] | None:
        """The step and the text of the first non-finite value; None if all are finite."""
        if self.is_finite.all():
            return None
        first = int(np.argmin(self.is_finite))
        return int(self.steps[first]), format_number(self.values[first])


class Chart(LineWidget):
    """Curves over a shared step axis that begins at 0, below a legend with their latest values."""

    def __init__(
        self, title: str, format_value: Callable[[float], str] = format_metric, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._title = title
        self._format_value = format_value
        self._curves: Sequence[Curve] = ()
        self._note: Line = []
        self._range: tuple[float, float] | None = None

    def show(self, curves: Sequence[Curve], note: str = "", tone: str = "warn") -> None:
        """Draw these curves; `note` is in the legend after the solid curves and before the faint ones.

        The value axis is kept while curves of the same labels grow within it.
        """
        if [curve.label for curve in curves] != [curve.label for curve in self._curves]:
            self._range = None
        self._curves = curves
        self._note = [(f" {note}", tone)] if note else []
        super().redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """The legend, the plot, and the step axis if there is room for it."""
        if width < 1 or height < 1:
            return []
        drawn = [curve for curve in self._curves if curve.is_finite.any()]
        if not drawn:
            return [self._legend(width), *_centered("no data yet", width, height - 1)]
        needed = value_range(drawn)
        self._range = axes.stable_range(needed, self._range or needed)
        return [self._legend(width), *draw_curves(drawn, width, height - 1, self._range)]

    def _legend(self, width: int) -> Line:
        solid = [span for curve in self._curves if not curve.faint for span in self._entry(curve)]
        faint = [span for curve in self._curves if curve.faint for span in self._entry(curve)]
        left: Line = [(self._title, "strong"), *solid, *self._note, *faint]
        right = self._badge()
        room = width - line_width(right)
        kept: Line = []
        for text, tone in left:
            shown = shorten(text, room - line_width(kept))
            kept.append((shown, tone))
            if shown != text:
                break
        return [*kept, (" " * (room - line_width(kept)), "plain"), *right]

    def _entry(self, curve: Curve) -> Line:
        """A curve's line style, name and latest value."""
        if not len(curve.values):
            return []
        value = float(curve.values[-1])
        line = "•" if curve.marked else "┄" if curve.faint else "─"
        sample = f"  {line} {curve.label} " if curve.label else " "
        return [
            (sample, curve.tone),
            (self._format_value(value), "strong" if math.isfinite(value) else "bad"),
        ]

    def _badge(self) -> Line:
        """The step of the first non-finite value, so that a diverged run cannot be overlooked."""
        found = [first for curve in self._curves if (first := curve.first_nonfinite)]
        if not found:
            return []
        step, value = min(found)
        return [(f" {value} @ step {step:,} ", "badge")]


def value_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return round bounds for curves that each have a finite value."""
    return axes.value_range([curve.values for curve in curves])


def draw_curves(
    curves: Sequence[Curve], width: int, height: int, bounds: tuple[float, float] | None = None
) -> list[Line]:
    """Plot curves that each have a finite value, and the step axis below if there is room for it.

    `bounds` are the values at the bottom and at the top; by default those of `value_range`.
    """
    axis = 1 if height >= _STEPS_FROM_HEIGHT else 0
    rows = height - axis
    if rows < 1:
        return []
    last = axes.step_end(max(int(curve.steps[-1]) for curve in curves))
    low, high = bounds or value_range(curves)
    labels = _value_labels(rows, low, high) if width >= _GUTTER_FROM_WIDTH else [("", "muted")] * rows
    gutter = len(labels[0][0])
    columns = width - gutter
    plot = _plot(curves, columns, rows, last, low, high)
    if gutter:
        plot = [[label, *line] for label, line in zip(labels, plot, strict=True)]
    return [*plot, *([_step_labels(columns, gutter, last)] if axis else [])]


def _centered(text: str, width: int, rows: int) -> list[Line]:
    """Put `text` in the middle of an empty plot."""
    blank: Line = []
    return [*([blank] * (rows // 2)), [(shorten(text, width).center(width), "muted")]] if rows > 0 else []


def _plot(curves: Sequence[Curve], columns: int, rows: int, last: int, low: float, high: float) -> list[Line]:
    """Draw the curves; a cell with several curves has the color of the one with the most dots in it."""
    width, height = columns * braille.DOTS_ACROSS, rows * braille.DOTS_DOWN
    bits = np.zeros((rows, columns), dtype=np.uint32)
    most = np.zeros((rows, columns), dtype=np.uint8)
    owner = np.full((rows, columns), -1)
    marks = np.zeros((rows, columns), dtype=bool)

    def dot_rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the dot rows of values, shape (N,)."""
        return (high - np.clip(values, low, high)) / (high - low) * (height - 1)

    for number, curve in enumerate(curves):
        steps, values = curve.steps[curve.is_finite], axes.finite(curve.values)
        x, visible = _decimate(steps, values, width, last)
        line = braille.draw_polyline(x, dot_rows(visible), width, height)
        if curve.faint:
            line[:, 1 :: braille.DOTS_ACROSS] = False
        own = braille.pack(line)
        bits |= own
        dots = np.bitwise_count(own)
        won = (dots > 0) & (dots >= most)
        if curve.marked:
            chosen = _last_of_groups(steps, columns, last)
            row = np.rint(dot_rows(values[chosen])).astype(int) // braille.DOTS_DOWN
            column = steps[chosen] * (width - 1) // last // braille.DOTS_ACROSS
            marks[row, column] = won[row, column] = True
        owner[won] = number
        most[won] = dots[won]
    codes = np.where(marks, np.uint32(_MARK), braille.characters(bits))
    return _colored(codes, owner, [*(curve.tone for curve in curves), "plain"])


def _decimate(
    steps: NDArray[np.int64], values: NDArray[np.float64], columns: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Reduce a curve to its visible points: the first, lowest, highest and last value of each dot column.

    steps, values: (N,), steps ascending from 0 to at most `last`, which is in the last column. Returns the
    columns and the values, (4 * M,) for M columns with values.
    """
    begins = np.searchsorted(steps, _first_steps(np.arange(columns), columns, last))
    occupied = np.flatnonzero(np.diff(begins, append=len(steps)))
    begins = begins[occupied]
    ends = np.append(begins[1:], len(steps)) - 1
    lowest, highest = np.minimum.reduceat(values, begins), np.maximum.reduceat(values, begins)
    return np.repeat(occupied, 4), np.column_stack((values[begins], lowest, highest, values[ends])).ravel()


def _last_of_groups(steps: NDArray[np.int64], columns: int, last: int) -> NDArray[np.int64]:
    """Return the index of the last of `steps`, shape (N,), in each group of _MARK_EVERY columns."""
    ends = np.arange(_MARK_EVERY, columns + _MARK_EVERY, _MARK_EVERY) * braille.DOTS_ACROSS
    before: NDArray[np.int64] = np.searchsorted(
        steps, _first_steps(ends, columns * braille.DOTS_ACROSS, last)
    )
    return np.unique(before[before > 0]) - 1


def _first_steps(dots: NDArray[np.int64], width: int, last: int) -> NDArray[np.int64]:
    """Return, for these of `width` dot columns, the first step that is in the column or right of it."""
    return -(-dots * last // (width - 1))


def _colored(codes: NDArray[np.uint32], owner: NDArray[np.int64], tones: Sequence[str]) -> list[Line]:
    """Split each row of cells into spans of one tone; an empty cell has the tone of the cell left of it.

    codes: (rows, columns); owner: (rows, columns), the index of each cell's tone, -1 for an empty cell.
    """
    rows, columns = codes.shape
    latest = np.maximum.accumulate(np.where(owner < 0, 0, np.arange(columns)), axis=1)
    owners = np.take_along_axis(owner, latest, axis=1).ravel()
    changes = owners[1:] != owners[:-1]
    changes[columns - 1 :: columns] = True
    cuts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(owners)]
    text = braille.to_text(codes)
    lines: list[Line] = [[] for _ in range(rows)]
    for start, end in itertools.pairwise(cuts):
        lines[start // columns].append((text[start:end], tones[owners[start]]))
    return lines


def _value_labels(rows: int, low: float, high: float) -> list[Span]:
    """Return the left edge of each row, all of the same width: a tick with its value, or the bare axis."""
    labels: dict[int, str] = {}
    ticks = axes.tick_values(low, high, max(3.0, rows / 2.5))
    digits = axes.tick_digits(ticks)
    for value in ticks:
        dot = round((high - value) / (high - low) * (rows * braille.DOTS_DOWN - 1))
        labels[dot // braille.DOTS_DOWN] = shorten(format_number(value, digits), _WIDEST_GUTTER - 1)
    gutter = max([_GUTTER, *(len(label) + 1 for label in labels.values())])
    return [
        (f"{labels[row]:>{gutter - 1}}┤" if row in labels else f"{'│':>{gutter}}", "muted")
        for row in range(rows)
    ]


def _step_labels(columns: int, gutter: int, last: int) -> Line:
    """Return the row below the plot: round steps under their columns."""
    text = ""
    for value in axes.tick_values(0, last, max(2.0, columns / 9)):
        label = format_count(value)
        start = round(value / last * (columns - 1)) - len(label) // 2
        start = max(0, min(start, columns - len(label)))
        if value == int(value) and (not text or start > len(text)):
            text = text.ljust(start) + label
    return [(" " * gutter + text, "muted")]
