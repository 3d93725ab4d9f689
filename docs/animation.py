"""Writes a recorded terminal session as an animated SVG that also moves where an <img> shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import NamedTuple

CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN = 8.4, 17, 14, 10
FONT = "'Fira Code',Menlo,Consolas,'DejaVu Sans Mono',monospace"
INK, PAPER, KEY_INK = "#c9d1d9", "#111315", "#f0dc5a"

_WORDS = re.compile(r"\S+(?: \S+)*")


class Cell(NamedTuple):
    """One cell of the terminal; colors are `#rrggbb`, or empty for the terminal's own."""

    char: str
    color: str
    background: str
    bold: bool


Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Frame:
    """The screen at a time (seconds), and the key that is shown below it."""

    time: float
    rows: tuple[Row, ...]
    key: str = ""


class _Item(NamedTuple):
    """A part of the picture that does not change: cells of one look from a column of a row on."""

    y: int
    x: int
    text: str
    color: str
    background: str
    bold: bool


def animated(frames: Sequence[Frame], seconds: float, poster: int) -> str:
    """Return an SVG that shows the frames in a loop of so many seconds.

    Where nothing moves, the frame of the index `poster` is shown.
    """
    shown: dict[_Item, list[int]] = {}
    for number, frame in enumerate(frames):
        for item in _items(frame):
            shown.setdefault(item, []).append(number)
    groups: dict[tuple[int, ...], list[_Item]] = {}
    for item, numbers in shown.items():
        groups.setdefault(tuple(numbers), []).append(item)
    colors = sorted({color for item in shown for color in (item.color, item.background) if color})
    classes = {color: f"c{number}" for number, color in enumerate(colors)}
    style = [*_base_style(seconds), *(f".{name}{{fill:{color}}}" for color, name in classes.items())]
    body: list[str] = []
    for number, (visible, items) in enumerate(groups.items()):
        drawn = "".join(_draw(item, classes) for item in sorted(items))
        if len(visible) == len(frames):
            body.append(drawn)
            continue
        style.append(_keyframes(f"k{number}", visible, frames, seconds))
        state = "" if poster in visible else ' class="o"'
        body.append(f'<g{state} style="animation-name:k{number}">{drawn}</g>')
    width, height = _size(frames[0])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'font-family="{escape(FONT)}" font-size="{FONT_SIZE}" xml:space="preserve">'
        f"<style>{''.join(style)}</style>"
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{PAPER}"/>{"".join(body)}</svg>\n'
    )


def _size(frame: Frame) -> tuple[float, float]:
    columns, rows = len(frame.rows[0]), len(frame.rows) + 1
    return columns * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN


def _base_style(seconds: float) -> Iterator[str]:
    yield f"g{{animation:{seconds:g}s steps(1,end) infinite}}.o{{visibility:hidden}}.b{{font-weight:bold}}"
    yield "@media(prefers-reduced-motion:reduce){g{animation:none}}"


def _keyframes(name: str, visible: Sequence[int], frames: Sequence[Frame], seconds: float) -> str:
    """Return when a group is seen: in the frames of these numbers."""
    steps: list[str] = []
    seen = set(visible)
    before: bool | None = None
    for number, frame in enumerate(frames):
        if (now := number in seen) != before:
            share = f"{100 * frame.time / seconds:.2f}".rstrip("0").rstrip(".") if number else "0"
            steps.append(f"{share}%{{visibility:{'visible' if now else 'hidden'}}}")
            before = now
    steps.append(f"to{{visibility:{'visible' if before else 'hidden'}}}")
    return f"@keyframes {name}{{{''.join(steps)}}}"


def _items(frame: Frame) -> Iterator[_Item]:
    for y, row in enumerate(frame.rows):
        x = 0
        for (color, background, bold), cells in groupby(row, key=lambda cell: cell[1:]):
            text = "".join(cell.char for cell in cells)
            yield from _words(_Item(y, x, text, color, background, bold))
            x += len(text)
    if frame.key:
        yield _Item(len(frame.rows), 1, frame.key, KEY_INK, "", True)


def _words(item: _Item) -> Iterator[_Item]:
    """Yield an item; without a background as its words, so that one that changes repeats no other."""
    if item.background:
        yield item
        return
    for found in _WORDS.finditer(item.text):
        yield item._replace(x=item.x + found.start(), text=found.group())


def _draw(item: _Item, classes: Mapping[str, str]) -> str:
    x, y = MARGIN + item.x * CELL_WIDTH, MARGIN + item.y * CELL_HEIGHT
    width = len(item.text) * CELL_WIDTH
    drawn = ""
    if item.background:
        drawn = (
            f'<rect x="{x:g}" y="{y:g}" width="{width + 0.2:.5g}" height="{CELL_HEIGHT + 0.2:g}" '
            f'class="{classes[item.background]}"/>'
        )
    bare = item.text.strip()
    if not bare:
        return drawn
    left = x + (len(item.text) - len(item.text.lstrip())) * CELL_WIDTH
    names = f"{classes.get(item.color, classes.get(INK, ''))}{' b' if item.bold else ''}"
    return (
        f'{drawn}<text x="{left:.5g}" y="{y + 13:g}" textLength="{len(bare) * CELL_WIDTH:.5g}" '
        f'class="{names}">{escape(bare, quote=False)}</text>'
    )
