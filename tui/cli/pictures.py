"""Pictures beside lines of text, in half blocks or, where colors or signs lack, in ASCII characters."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment

from torchconsole.engine.text import printable
from torchconsole.tui.cli.output import print_colored
from torchconsole.tui.cli.terminal import output_width
from torchconsole.tui.half_blocks import draw_picture
from torchconsole.tui.picture_cells import segments
from torchconsole.tui.signs import ascii_encoding
from torchconsole.tui.table import GAP, shorten

if TYPE_CHECKING:
    from torchconsole.engine.protocol.model_reports import Picture

WIDTH, HEIGHT = 32, 16
"""Most columns and rows of cells of a picture."""

_PAINTED = {"256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}


def print_beside(picture: Picture | None, lines: Sequence[str]) -> None:
    """Print a picture, if there is one, and lines of text to its right, cut to the terminal's width."""
    system, width = _color_system(), output_width()
    if picture is None:
        for line in lines:
            print(shorten(printable(line), width) if width else printable(line))
        return
    pixels = np.frombuffer(base64.b64decode(picture.pixels), np.uint8)
    room = WIDTH if width is None else min(WIDTH, max(1, width // 2 - len(GAP)))
    cells = draw_picture(
        pixels.reshape(picture.height, picture.width, 3), room, HEIGHT, painted=system is not None
    )
    drawn, is_indexed = len(cells[0]), system is ColorSystem.EIGHT_BIT
    rows = [segments(row, indexed=is_indexed) for row in cells]
    for row, line in zip_longest(rows, map(printable, lines)):
        for segment in row or []:
            if system is None:
                sys.stdout.write(segment.text)
            else:
                print_colored(segment.text, _sgr(segment, system))
        text = "" if line is None else f"{'' if row else ' ' * drawn}{GAP}{line}"
        print(text if width is None else shorten(text, width - (drawn if row else 0)))


def _color_system() -> ColorSystem | None:
    """Return the colors of the terminal on stdout; None if it has too few, or lacks half blocks."""
    if ascii_encoding() is not None or not sys.stdout.isatty():
        return None
    console = Console(file=sys.stdout)
    return None if console.no_color else _PAINTED.get(console.color_system or "")


def _sgr(segment: Segment, system: ColorSystem) -> str:
    """Return the parameters of the ANSI sequence for a segment's colors."""
    codes: list[str] = []
    if segment.style is not None:
        for color, is_text in ((segment.style.color, True), (segment.style.bgcolor, False)):
            if color is not None:
                codes += color.downgrade(system).get_ansi_codes(foreground=is_text)
    return ";".join(codes)
