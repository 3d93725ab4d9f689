"""A regression's predictions against the true values, and the histogram of their differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.protocol.info import RegressionSample, TargetSample
from torchconsole.tui.charts import braille
from torchconsole.tui.formatting import format_number
from torchconsole.tui.widgets.frames import beside, ends, fill, meter
from torchconsole.tui.widgets.lines import Line

_MARGIN = 0.03
_OUTLIERS = 0.98
_LABEL = 9
_SPLIT_FROM = 64
"""Columns from which the histogram is beside the points."""

Box = Callable[..., list[Line]]
"""Draws a box: lines, width, height, title, and remarks of which the first that fits is shown."""


def regression_view(
    sample: RegressionSample,
    target: int,
    where: Line,
    keys: Sequence[Line],
    width: int,
    height: int,
    box: Box,
) -> list[Line]:
    """Return the points of a target and, if there is room, the differences beside them, each in a box.

    `keys` are hints for the upper edge, of which the first that fits is shown.
    """
    shown = sample.shown[target]
    side = min(46, width // 2) if width >= _SPLIT_FROM else 0
    which = f" target {target + 1} of {sample.targets}" if sample.targets > 1 else ""
    title: Line = [("regression", "bold strong"), (which, "text"), *where]
    if not shown.true:
        return box([[(" no prediction is a finite number", "bad")]], width, height, title, *keys)
    axes: Line = [(" predicted ↑  true →", "faint")]
    if len(shown.true) < sample.samples:
        axes.append((f"   {len(shown.true):,} of {sample.samples:,} samples", "faint"))
    if sample.nonfinite:
        axes.append((f"   ✗ {sample.nonfinite} not finite", "bad"))
    points = scatter(shown, width - side - 3, height - 3)
    facts = figures(shown)
    if not points:
        few: list[Line] = [[(f" {name:<19}", "muted"), (value, "bold strong")] for name, value in facts]
        return box(few, width, height, title, *keys)
    left = box([axes, *points], width - side, height, title, *keys)
    if not side:
        return left
    lines = histogram(shown, side - 4, max(3, height - 3 - len(facts)))
    lines += [[], *([(f"{name:<19}", "muted"), (value, "bold strong")] for name, value in facts)]
    head: Line = [("residuals", "bold strong"), (" predicted - true", "muted")]
    return beside(left, box([[(" ", "text"), *line] for line in lines], side, height, head, []), width - side)


def scatter(sample: TargetSample, width: int, height: int) -> list[Line]:
    """Return the cloud of points with both axes: the true value to the right, the prediction upwards.

    The dotted line is where they are equal.
    """
    columns, rows = width - _LABEL - 1, height - 1
    if columns < 4 or rows < 3 or not sample.true:
        return []
    true, predicted = _values(sample.true), _values(sample.predicted)
    low, high = _range(np.concatenate([true, predicted]))
    wide, tall = columns * braille.DOTS_ACROSS, rows * braille.DOTS_DOWN
    dots = np.zeros((tall, wide), dtype=bool)
    x = np.clip(np.rint((true - low) / (high - low) * (wide - 1)), 0, wide - 1).astype(int)
    y = np.clip(np.rint((high - predicted) / (high - low) * (tall - 1)), 0, tall - 1).astype(int)
    dots[y, x] = True
    equal = np.zeros_like(dots)
    across = np.arange(0, wide, 3)
    equal[np.rint((wide - 1 - across) / (wide - 1) * (tall - 1)).astype(int), across] = True
    points = braille.pack(dots)
    line_bits = braille.pack(equal)
    text = braille.to_text(braille.characters(np.where(points > 0, points, line_bits)))
    lines: list[Line] = []
    for row in range(rows):
        part = row / (rows - 1)
        label = format_number(high - part * (high - low)) if row in (0, rows // 2, rows - 1) else ""
        lines.append([(f"{label:>{_LABEL}} ", "faint"), *_toned(text, points, row, columns)])
    middle = format_number((low + high) / 2)
    ticks = f"{format_number(low):<{columns // 2 - len(middle) // 2}}{middle}"
    axis = ends([(ticks, "faint")], [(format_number(high), "faint")], columns)
    return [*lines, [(" " * (_LABEL + 1), "text"), *axis]]


def _toned(text: str, points: NDArray[np.uint32], row: int, columns: int) -> Line:
    line: Line = []
    for column in range(columns):
        char = text[row * columns + column]
        tone = "val" if points[row, column] else "faint"
        if line and line[-1][1] == tone:
            line[-1] = (line[-1][0] + char, tone)
        else:
            line.append((char, tone))
    return line


def histogram(sample: TargetSample, width: int, height: int) -> list[Line]:
    """Return a bar for each range of differences; those beyond the ends are in the first and the last."""
    if not sample.true or height < 3:
        return []
    residuals = _values(sample.predicted) - _values(sample.true)
    bins = min(height, 15) // 2 * 2 - 1
    limit = float(np.quantile(np.abs(residuals), _OUTLIERS)) or float(np.abs(residuals).max()) or 1.0
    size = 2 * limit / bins
    at = np.clip(np.rint(residuals / size).astype(int) + bins // 2, 0, bins - 1)
    counts = np.bincount(at, minlength=bins)
    most = int(counts.max())
    lines: list[Line] = []
    for number, count in enumerate(counts.tolist()):
        center = (number - bins // 2) * size
        label = "0" if number == bins // 2 else f"{format_number(center, 2):>}"
        sign = "≤" if number == 0 else "≥" if number == bins - 1 else "+" if center > 0 else ""
        tone = "good" if number == bins // 2 else "val"
        bar = meter(count / most, max(1, width - _LABEL - 7), tone) if count else []
        head: Line = [(f"{sign + label:>{_LABEL}} ", "strong" if number == bins // 2 else "muted")]
        lines.append([*fill([*head, *bar], width - 6), (f"{count:>6,}", "text" if count else "faint")])
    return lines


def figures(sample: TargetSample) -> list[tuple[str, str]]:
    """Return names and values that describe the differences."""
    if not sample.true:
        return []
    true, predicted = _values(sample.true), _values(sample.predicted)
    residuals = predicted - true
    spread = float(((true - true.mean()) ** 2).sum())
    explained = format_number(1 - float((residuals**2).sum()) / spread) if spread else "n/a"
    return [
        ("mean difference", format_number(float(residuals.mean()))),
        ("mean |difference|", format_number(float(np.abs(residuals).mean()))),
        ("90 % are within", f"±{format_number(float(np.quantile(np.abs(residuals), 0.9)))}"),
        ("R²", explained),
    ]


def _values(numbers: list[float]) -> NDArray[np.float64]:
    """Return numbers as an array, within a range whose squares and differences are finite."""
    return np.clip(np.asarray(numbers, dtype=np.float64), -1e150, 1e150)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = (high - low) * _MARGIN or abs(high) * _MARGIN or 1.0
    return low - margin, high + margin
