"""Pictures as terminal cells: half blocks in the colors of two pixels, or characters by brightness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from torchconsole.tui.picture_cells import Cell, Rgb

UPPER_HALF = "▀"

SHADES = " .:-=+*#%@"
"""Characters for the brightness of a cell, the darkest first, on a dark background."""

_BRIGHTNESS = np.array([0.299, 0.587, 0.114])


def draw_picture(
    pixels: NDArray[np.uint8], width: int, height: int, *, painted: bool = True, dark: bool = True
) -> list[list[Cell]]:
    """Draw a picture of shape (H, W) or (H, W, 3) in at most `width` columns and `height` rows of cells.

    A larger one is reduced with its proportions; a smaller one is not enlarged. `painted` needs 256 colors or
    more, and Unicode; without it the cells are ASCII characters by brightness, on a `dark` background or not.
    """
    colored = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    colored = _reduced(colored, width, 2 * height)
    return _half_blocks(colored) if painted else _shades(colored, dark=dark)


def _half_blocks(pixels: NDArray[np.uint8]) -> list[list[Cell]]:
    """Draw each pair of pixels as one cell; below an odd last row the background is the terminal's own."""
    rows: list[list[Rgb | None]] = [[(r, g, b) for r, g, b in row] for row in pixels.tolist()]
    if len(rows) % 2:
        rows.append([None] * pixels.shape[1])
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return [[Cell(UPPER_HALF, fg, bg) for fg, bg in zip(upper, lower, strict=True)] for upper, lower in pairs]


def _shades(pixels: NDArray[np.uint8], *, dark: bool) -> list[list[Cell]]:
    brightness = pixels @ _BRIGHTNESS
    if len(brightness) % 2:
        brightness = np.concatenate([brightness, brightness[-1:]])
    levels = ((brightness[::2] + brightness[1::2]) / 2 / 256 * len(SHADES)).astype(int)
    shades = SHADES if dark else SHADES[::-1]
    return [[Cell(shades[level]) for level in row] for row in levels.tolist()]


def _reduced(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return means over areas, of at most `width` x `height` pixels."""
    rows, columns = pixels.shape[:2]
    scale = min(1.0, width / columns, height / rows)
    if scale == 1.0:
        return pixels
    found = _means(
        _means(pixels.astype(float), max(1, round(rows * scale)), 0), max(1, round(columns * scale)), 1
    )
    return found.round().astype(np.uint8)


def _means(values: NDArray[np.float64], count: int, axis: int) -> NDArray[np.float64]:
    """Return the means of `count` almost equal parts of an axis."""
    length = values.shape[axis]
    starts = np.arange(count) * length // count
    sizes = np.diff(starts, append=length)
    sums = np.add.reduceat(values, starts, axis=axis)
    means: NDArray[np.float64] = sums / np.expand_dims(
        sizes, tuple(each for each in range(values.ndim) if each != axis)
    )
    return means
