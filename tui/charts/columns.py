"""From the rows of a curve to what each column of a plot shows of it."""

from __future__ import annotations

import hashlib

import numpy as np

from torchconsole.engine.protocol.buckets import Floats, Ints, Rows, group_starts, join, merge
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.x_axis import XAxis

_MOST_KEPT = 16
_kept: dict[bytes, Rows] = {}
"""Summaries of past columns, by a digest of their rows. Only the newest column of a run changes."""


def merged_columns(rows: Rows, x: XAxis) -> tuple[Ints, Rows]:
    """Summarize finite rows by columns of cells. Returns the columns, and the rows, of the same length."""
    columns = x.columns_of(rows.steps)
    inside = slice(*np.searchsorted(columns, [0, x.columns]).tolist())
    seen, columns = rows.take(inside), columns[inside]
    starts = group_starts(columns)
    if len(starts) < 2:
        return columns[starts], merge(seen, columns)
    last = int(starts[-1])
    past = _merged_past(seen.take(slice(0, last)), columns[:last])
    newest = merge(seen.take(slice(last, None)), columns[last:])
    return columns[starts], join([past, newest])


def _merged_past(rows: Rows, columns: Ints) -> Rows:
    """Return the summary of complete columns: the same in each update, of which it would take the most."""
    digest = hashlib.blake2b(columns.tobytes(), digest_size=16)
    for values in rows:
        digest.update(values.tobytes())
    key = digest.digest()
    found = _kept.pop(key, None)
    if found is None:
        found = merge(rows, columns)
    _kept[key] = found
    if len(_kept) > _MOST_KEPT:
        del _kept[next(iter(_kept))]
    return found


def column_extremes(rows: Rows, x: XAxis, *, is_high: bool) -> tuple[Ints, Floats]:
    """Return the highest or the lowest value of finite rows in each column of cells that has any."""
    columns = x.columns_of(rows.steps)
    inside = slice(*np.searchsorted(columns, [0, x.columns]).tolist())
    columns = columns[inside]
    starts = group_starts(columns)
    if not len(starts):
        return columns, rows.values[:0]
    found = (
        np.maximum.reduceat(rows.high[inside], starts)
        if is_high
        else np.minimum.reduceat(rows.low[inside], starts)
    )
    return columns[starts], found


def line_points(curve: Curve, x: XAxis) -> tuple[Ints, Floats]:
    """Return the dot columns and values that a curve's line connects, in order; both of shape (N,).

    A smoothed line has the mean of each dot column, another one its first, lowest, highest and last value.
    """
    rows, values = curve.finite, curve.line
    dots = x.dots_of(rows.steps)
    first, last = np.searchsorted(dots, [0, x.dots]).tolist()
    inner = dots[first:last]
    if len(inner):
        seen = rows.take(slice(first, last))
        points = _means if curve.kind == "line" else _extremes
        inner, shown = points(inner, values[first:last], seen)
    else:
        shown = values[:0]
    parts = [(inner, shown)]
    if 0 < first < len(dots) and dots[first] > 0:
        parts.insert(0, (np.array([0]), _between(dots, values, first, 0)))
    if 0 < last < len(dots) and dots[last - 1] < x.dots - 1:
        parts.append((np.array([x.dots - 1]), _between(dots, values, last, x.dots - 1)))
    columns, heights = zip(*parts, strict=True)
    return np.concatenate(columns), np.concatenate(heights)


def _means(dots: Ints, values: Floats, rows: Rows) -> tuple[Ints, Floats]:
    starts = group_starts(dots)
    counts = np.repeat(np.add.reduceat(rows.counts, starts), np.diff(starts, append=len(dots)))
    return dots[starts], np.add.reduceat(values * (rows.counts / counts), starts)


def _extremes(dots: Ints, values: Floats, rows: Rows) -> tuple[Ints, Floats]:
    starts = group_starts(dots)
    ends = np.append(starts[1:], len(dots)) - 1
    lowest, highest = np.minimum.reduceat(rows.low, starts), np.maximum.reduceat(rows.high, starts)
    four = np.column_stack((values[starts], lowest, highest, values[ends]))
    return np.repeat(dots[starts], 4), four.ravel()


def _between(dots: Ints, values: Floats, right: int, dot: int) -> Floats:
    """Return the value at a dot column between two points, as an array of one."""
    left = right - 1
    share = (dot - dots[left]) / (dots[right] - dots[left])
    value: Floats = values[left : left + 1] * (1 - share) + values[right] * share
    return value
