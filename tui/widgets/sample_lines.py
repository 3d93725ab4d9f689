"""A training batch as lines: pictures beside each other, rows with their values, texts below their labels."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

from torchconsole.engine.protocol.reports import TrainingSample, TrainingSamples
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_number
from torchconsole.tui.half_blocks import draw_picture
from torchconsole.tui.picture_cells import picture_line
from torchconsole.tui.table import padded, shorten
from torchconsole.tui.widgets.lines import Line, line_width, wrap

WIDEST_PICTURE, LEAST_COLUMN = 32, 14
_GAP = 2
_MOST_TEXT_LINES = 4


def sample_lines(found: TrainingSamples, width: int, *, painted: bool, dark: bool) -> list[Line]:
    """Return lines for `width` cells. Pictures are `painted` in half blocks, or drawn with characters."""
    shape = "x".join(map(str, found.shape))
    title: Line = [("first training batch", "bold strong")]
    details = f"{len(found.samples)} of {found.batch_size:,} samples, {shape}, after transforms"
    lines = [[*title, (f" {details}", "muted")]]
    if line_width(lines[0]) > width:
        lines = [title, *([(piece, "muted")] for piece in wrap(details, width))]
    if found.is_scaled:
        scaled = "brightness is scaled: the transforms give values outside of 0 to 1"
        lines += [[(piece, "faint")] for piece in wrap(scaled, width)]
    lines.append([])
    if found.kind == "images":
        return lines + _pictures(found, width, painted=painted, dark=dark)
    for sample in found.samples:
        lines.append(_heading(sample, width))
        text = sample.text or _values(sample, found.columns)
        pieces = wrap(printable(text), width - 2)
        more = [*pieces[: _MOST_TEXT_LINES - 1], "..."] if len(pieces) > _MOST_TEXT_LINES else pieces
        lines += [[("  ", "text"), (piece, "text")] for piece in more]
    return lines


def _heading(sample: TrainingSample, width: int) -> Line:
    label = shorten(printable(sample.label), max(6, width // 2))
    place = shorten(printable(sample.place), max(0, width - len(label) - 2), "start")
    return [(label, "bold strong"), ("  ", "text"), (place, "faint")]


def _values(sample: TrainingSample, columns: Sequence[str]) -> str:
    shown = ["n/a" if value is None else format_number(value, 4) for value in sample.values]
    if not columns:
        return ", ".join(shown)
    return ", ".join(f"{name} {value}" for name, value in zip(columns, shown, strict=False))


def _pictures(found: TrainingSamples, width: int, *, painted: bool, dark: bool) -> list[Line]:
    """Return rows of pictures, each with its label and its file below."""
    column = max(LEAST_COLUMN, min(WIDEST_PICTURE, found.picture[1]))
    beside = max(1, (width + _GAP) // (column + _GAP))
    column = min(column, width)
    lines: list[Line] = []
    for start in range(0, len(found.samples), beside):
        samples = found.samples[start : start + beside]
        drawn = [
            draw_picture(
                np.frombuffer(base64.b64decode(sample.pixels), np.uint8).reshape(found.picture),
                column,
                column,
                painted=painted,
                dark=dark,
            )
            for sample in samples
        ]
        for row in range(max(map(len, drawn))):
            line: Line = []
            for picture in drawn:
                cells = picture[row] if row < len(picture) else []
                line += picture_line(cells)
                line.append((" " * (column + _GAP - len(cells)), "text"))
            lines.append(line)
        lines.append([(_cell(sample.label, column, "end"), "bold strong") for sample in samples])
        lines.append([(_cell(sample.place, column, "start"), "faint") for sample in samples])
        lines.append([])
    return lines


def _cell(text: str, column: int, cut: str) -> str:
    short = shorten(printable(text), column, "start" if cut == "start" else "end")
    return padded(short, column + _GAP)
