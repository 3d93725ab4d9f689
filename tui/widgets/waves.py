"""Small curves of dots without axes, as the metrics panel has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchconsole.tui.charts import braille

_MIDDLE = 0.78
"""A wave begins where it enters this middle part of its range: the first values would flatten the rest."""


@dataclass(frozen=True)
class Wave:
    """Rows of text; `best` is the column and row of the marked step, None if it is not in the wave."""

    rows: list[str]
    best: tuple[int, int] | None = None


def wave(
    steps: NDArray[np.int64],
    values: NDArray[np.float64],
    columns: int,
    rows: int,
    marked_step: int | None = None,
) -> Wave:
    """Draw values over steps, both of shape (N,), in `columns` x `rows` cells; the last is at the right."""
    blank = [" " * columns] * rows
    is_finite = np.isfinite(values)
    steps, values = steps[is_finite], np.clip(values[is_finite], -1e300, 1e300)
    if len(steps) < 2 or columns < 2 or rows < 1:
        return Wave(blank)
    begin = _begin(values)
    width, height = columns * braille.DOTS_ACROSS, rows * braille.DOTS_DOWN
    first, last = int(steps[0]), int(steps[-1])
    if last <= first:
        return Wave(blank)
    x = (steps - first) * (width - 1) // (last - first)
    if width - 1 - x[begin] < width // 2:
        # The steep part takes more than half: stretch the rest.
        first = max(first, 2 * int(steps[begin]) - last)
        x = np.maximum(0, (steps - first) * (width - 1) // (last - first))
    x, shown = x[begin:], values[begin:]
    starts = np.flatnonzero(np.diff(x, prepend=-1))
    means = np.add.reduceat(shown, starts) / np.diff(starts, append=len(shown))
    low, high = float(means.min()), float(means.max())
    span = high - low
    y = (high - means) / span * (height - 1) if span > 0 else np.full(len(means), (height - 1) / 2)
    dots = braille.draw_polyline(x[starts], y, width, height)
    text = braille.to_text(braille.characters(braille.pack(dots)))
    lines = [text[row * columns : (row + 1) * columns] for row in range(rows)]
    return Wave(lines, _cell(marked_step, steps[begin:][starts], x[starts], y))


def _begin(values: NDArray[np.float64]) -> int:
    """Return the index of the first value in the middle of the range."""
    low, high = float(values.min()), float(values.max())
    edge = (high - low) * (1 - _MIDDLE) / 2
    inside = np.flatnonzero((values >= low + edge) & (values <= high - edge))
    return min(int(inside[0]) if len(inside) else 0, len(values) - 2)


def _cell(
    step: int | None, steps: NDArray[np.int64], x: NDArray[np.int64], y: NDArray[np.float64]
) -> tuple[int, int] | None:
    if step is None or not len(steps) or step < steps[0]:
        return None
    index = int(np.searchsorted(steps, step, side="right")) - 1
    return int(x[index]) // braille.DOTS_ACROSS, round(float(y[index])) // braille.DOTS_DOWN
