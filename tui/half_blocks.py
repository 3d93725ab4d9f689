"""Pictures as terminal cells: half blocks in the colors of two pixels, or characters by brightness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

Rgb = tuple[int, int, int]

UPPER_HALF = "▀"

SHADES = " .:-=+*#%@"
"""Characters for the brightness of a cell, the darkest first, on a dark background."""

CUBE, GREYS = (0, 95, 135, 175, 215, 255), range(24)
"""Of the 256 colors: the steps of red, green and blue from 16 on; the greys 8, 18, ..., 238 from 232 on."""

_BRIGHTNESS = np.array([0.299, 0.587, 0.114])


class Cell(NamedTuple):
    """A cell of a picture. A color of None is the terminal's own."""

    char: str
    fg: Rgb | None = None
    bg: Rgb | None = None


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


def segments(row: Sequence[Cell], *, indexed: bool = False) -> list[Segment]:
    """Return a row of cells as segments, one for each stretch of cells of the same colors.

    With `indexed`, they are the nearest ones of 256 colors, since Rich makes teal and navy of dark colors.
    """
    rich = _nearest if indexed else _exact
    return [
        Segment("".join(cell.char for cell in cells), Style(color=fg and rich(fg), bgcolor=bg and rich(bg)))
        for (fg, bg), cells in groupby(row, lambda cell: cell[1:])
    ]


def picture_line(row: Sequence[Cell]) -> list[tuple[str, str]]:
    """Return a row of cells as spans of a line; the tone of a painted one is `#rrggbb on #rrggbb`."""
    return [
        ("".join(cell.char for cell in cells), "text" if fg is None else f"{_hex(fg)} on {_hex(bg)}")
        for (fg, bg), cells in groupby(row, lambda cell: cell[1:])
    ]


def is_pixel(tone: str) -> bool:
    """Whether a tone is the colors of a cell of a picture."""
    return tone.startswith("#")


def pixel_style(tone: str, *, indexed: bool) -> Style:
    """Return the style of such a tone. `indexed` as in `segments`."""
    fg, bg = (None if part == "default" else _rgb(part) for part in tone.split(" on "))
    rich = _nearest if indexed else _exact
    return Style(color=fg and rich(fg), bgcolor=bg and rich(bg))


def _hex(color: Rgb | None) -> str:
    return "default" if color is None else f"#{bytes(color).hex()}"


def _rgb(text: str) -> Rgb:
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


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


def _exact(color: Rgb) -> Color:
    return Color.from_rgb(*color)


@lru_cache(4096)
def _nearest(color: Rgb) -> Color:
    red, green, blue = (min(range(len(CUBE)), key=lambda step: abs(CUBE[step] - part)) for part in color)
    grey = min(GREYS, key=lambda step: abs(8 + 10 * step - sum(color) / 3))
    in_cube = (CUBE[red], CUBE[green], CUBE[blue])
    if math.dist(color, in_cube) <= math.dist(color, [8 + 10 * grey] * 3):
        return Color.from_ansi(16 + 36 * red + 6 * green + blue)
    return Color.from_ansi(232 + grey)
