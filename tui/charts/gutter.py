"""The labels beside and below a plot."""

from __future__ import annotations

import numpy as np

from torchconsole.tui.charts.canvas import Canvas, Line
from torchconsole.tui.charts.x_axis import XAxis
from torchconsole.tui.charts.y_axis import YAxis


def value_labels(axis: YAxis, width: int, *, has_edge: bool = False) -> list[Line]:
    """Return the labels left of a plot, one a row; with `has_edge`, a line separates them from it."""
    if not width:
        return [[] for _ in range(axis.rows)]
    labels = dict(axis.ticks)
    edges = [("┤" if row in labels else "│") if has_edge else " " for row in range(axis.rows)]
    return [
        [(f"{labels.get(row, '')[: width - 1]:>{width - 1}}{edge}", "faint")]
        for row, edge in enumerate(edges)
    ]


def empty_plot(width: int, rows: int) -> list[Line]:
    """Return the rows of a plot without values."""
    text = "no data yet"[:width]
    return [[(text.center(width), "faint")] if row == rows // 2 else [] for row in range(rows)]


def x_labels(x: XAxis, gutter: int, cursor: float | None = None) -> Line:
    """Return the row below the plots: round values under their columns, and that of the cursor."""
    canvas = Canvas(x.columns, 1)

    def start_of(column: int, label: str) -> int:
        return max(0, min(column - len(label) // 2, x.columns - len(label)))

    taken = range(0)
    if cursor is not None:
        label = f" {x.unit.format_exact(float(x.unit.of_steps(np.array([cursor]))[0]))} "
        start = start_of(x.column_of(cursor), label)
        canvas.put_at(0, start, label, "bold strong", "select")
        taken = range(start, start + len(label))
    used = 0
    for column, label in x.ticks():
        start = start_of(column, label)
        end = start + len(label)
        if start >= used and (end <= taken.start or start >= taken.stop or not taken):
            canvas.put_at(0, start, label, "faint")
            used = end + 1
    return [(" " * gutter, "faint"), *canvas.lines()[0]]
