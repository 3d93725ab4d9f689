"""Lines drawn with braille dots, two across and four down in each cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DOTS_ACROSS = 2
DOTS_DOWN = 4
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint32)
_BLANK = 0x2800


def draw_polyline(
    columns: NDArray[np.int64], rows: NDArray[np.float64], width: int, height: int
) -> NDArray[np.bool_]:
    """Connect points by a line without gaps that covers each column from its lowest to its highest point.

    columns: (N,) dot columns, ascending, inside the width; rows: (N,) finite dot rows, 0 at the top.
    Returns the dots that are set, shape (height, width).
    """
    if not len(columns):
        return np.zeros((height, width), dtype=bool)
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    ends = np.append(starts[1:], len(columns)) - 1
    occupied = columns[starts]
    covered = np.arange(occupied[0], occupied[-1] + 1)
    left = np.searchsorted(occupied, covered, side="right") - 1
    right = np.minimum(left + 1, len(starts) - 1)
    has_points = occupied[left] == covered
    fraction = (covered - occupied[left]) / np.maximum(1, occupied[right] - occupied[left])
    between = rows[ends][left] + fraction * (rows[starts][right] - rows[ends][left])

    def choose(per_group: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(has_points, per_group[left], between)

    top, bottom = choose(np.minimum.reduceat(rows, starts)), choose(np.maximum.reduceat(rows, starts))
    _join(top, bottom, choose(rows[starts]), choose(rows[ends]))
    row = np.arange(height)[:, None]
    dots = np.zeros((height, width), dtype=bool)
    dots[:, covered] = (row >= np.rint(top)) & (row <= np.rint(bottom))
    return dots


def _join(
    top: NDArray[np.float64],
    bottom: NDArray[np.float64],
    entry: NDArray[np.float64],
    leave: NDArray[np.float64],
) -> None:
    """Stretch neighboring columns to meet half-way where the line jumps by more than a dot.

    All arrays have shape (N,); `top` and `bottom` are changed in place.
    """
    before, after = leave[:-1], entry[1:]
    apart = np.abs(after - before) > 1
    half = (before + after) / 2
    for side, reached in (
        (slice(None, -1), np.where(apart, half, before)),
        (slice(1, None), np.where(apart, half, after)),
    ):
        top[side] = np.minimum(top[side], reached)
        bottom[side] = np.maximum(bottom[side], reached)


def pack(dots: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Pack the dots of each cell into the bits of a number, 0 for an empty cell.

    dots: (4 * rows, 2 * columns). Returns (rows, columns).
    """
    packed = np.zeros((dots.shape[0] // DOTS_DOWN, dots.shape[1] // DOTS_ACROSS), dtype=np.uint32)
    for down in range(DOTS_DOWN):
        for across in range(DOTS_ACROSS):
            packed |= dots[down::DOTS_DOWN, across::DOTS_ACROSS] * _BITS[down, across]
    return packed


def characters(bits: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the code points of packed cells, a space for an empty one."""
    return np.where(bits == 0, np.uint32(ord(" ")), bits + np.uint32(_BLANK))


def to_text(codes: NDArray[np.uint32]) -> str:
    """Return the characters of code points, row after row."""
    return codes.astype("<u4").tobytes().decode("utf-32-le")
