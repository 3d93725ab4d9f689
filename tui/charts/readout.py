"""The values at the cursor: of each curve, with the range of its band, and what happened there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from torchconsole.tui.charts.canvas import Canvas, Line, padded, width_of
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.panels import Mark, Panel
from torchconsole.tui.charts.x_axis import XAxis

_WIDTH = 32
_MOST_MARKS = 3


def value_at(curve: Curve, step: float) -> float | None:
    """Return a curve's value at a step: of its line, or of the last evaluation so far; None before those."""
    rows = curve.rows
    index = int(np.searchsorted(rows.steps, step, side="right")) - 1
    if index < 0 or (curve.kind == "line" and not len(rows.steps)):
        return None
    value = float(rows.values[index])
    if not math.isfinite(value) or curve.kind != "line":
        return value
    return float(curve.line[int(np.searchsorted(curve.finite.steps, rows.steps[index]))])


def readout(panel: Panel, x: XAxis, step: float, marks: Sequence[Mark]) -> list[Line]:
    """Return the lines of the box beside the cursor."""
    exact = x.unit.format_exact(float(x.unit.of_steps(np.array([step]))[0]))
    head: Line = [(" step ", "muted"), (f"{int(step):,}", "bold strong")]
    if x.unit.name != "step":
        head += [(f"  {x.unit.name} ", "muted"), (exact, "bold text")]
    lines: list[Line] = [head]
    for curve in panel.curves:
        value = None if curve.kind == "plan" else value_at(curve, step)
        if value is None:
            continue
        sign = "•" if curve.kind == "evaluations" else "━"
        shown = panel.format_value(value)
        line: Line = [(f" {sign} ", curve.tone), (f"{curve.label} " if curve.label else "", "muted")]
        line.append((shown, f"bold {curve.tone}" if math.isfinite(value) else "bad"))
        lines.append([*line, *_range_at(curve, panel, x, step)])
    column = x.column_of(step)
    here = [mark for mark in marks if x.column_of(mark.step) == column]
    lines += [
        [(f" {mark.sign} ", mark.tone), (f"{mark.text} @ {mark.step:,}", "text")]
        for mark in here[:_MOST_MARKS]
    ]
    if len(here) > _MOST_MARKS:
        lines.append([(f"   {len(here) - _MOST_MARKS} more", "muted")])
    width = max(_WIDTH, *(width_of(line) + 1 for line in lines))
    return [padded(line, width) for line in lines]


def _range_at(curve: Curve, panel: Panel, x: XAxis, step: float) -> Line:
    """Return the lowest and highest value in the cursor's column, or where the last evaluation was."""
    rows = curve.finite
    if curve.kind == "evaluations":
        index = int(np.searchsorted(curve.rows.steps, step, side="right")) - 1
        return [(f" @ {int(curve.rows.steps[index]):,}", "faint")]
    if not curve.has_band:
        return []
    columns = x.columns_of(rows.steps)
    here = slice(*np.searchsorted(columns, [x.column_of(step), x.column_of(step) + 1]).tolist())
    if not rows.counts[here].sum() > 1:
        return []
    low, high = float(rows.low[here].min()), float(rows.high[here].max())
    return [(f"  {panel.format_value(low)}–{panel.format_value(high)}", "faint")]  # noqa: RUF001


def put_readout(canvas: Canvas, lines: Sequence[Line], column: int) -> None:
    """Write the box left or right of the cursor, at the top or the bottom: where it hides least."""
    width, height = width_of(lines[0]), len(lines)
    hidden = canvas.has_dots
    places = [
        (int(hidden[row : row + height, left : left + width].sum()), order, row, left)
        for order, (row, left) in enumerate(
            (row, left)
            for left in (column + 2, column - 1 - width)
            for row in (0, canvas.rows - height)
            if left >= 0 and left + width <= canvas.columns and row >= 0
        )
    ]
    if not places:
        return
    _, _, row, left = min(places)
    for offset, line in enumerate(lines):
        at = left
        for text, tone in line:
            canvas.put_at(row + offset, at, text, tone, "raised")
            at += len(text)
