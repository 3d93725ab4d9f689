"""Cells of pictures in the terminal: their colors as Rich's and as tones of lines. Needs no numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

Rgb = tuple[int, int, int]

CUBE, GREYS = (0, 95, 135, 175, 215, 255), range(24)
"""Of the 256 colors: the steps of red, green and blue from 16 on; the greys 8, 18, ..., 238 from 232 on."""


class Cell(NamedTuple):
    """A cell of a picture. A color of None is the terminal's own."""

    char: str
    fg: Rgb | None = None
    bg: Rgb | None = None


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
