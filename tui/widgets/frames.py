"""Frames, rules and meters: what panels and panes are drawn with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width

_BLOCKS = " ▁▂▃▄▅▆▇█"
_FULL, _HALF = "━", "╸"

LEAST_FRAME_WIDTH = 12
_RULE_EDGES = 9
"""Columns of a rule besides its title and its remark."""


def crop(line: Line, width: int) -> Line:
    """Shorten a line to at most `width` cells."""
    if line_width(line) <= width:
        return line
    while line and not (text := line[-1][0].rstrip(" ")):
        line = line[:-1]
    if line:
        line = [*line[:-1], (text, line[-1][1])]
    kept: Line = []
    room = width
    for text, tone in line:
        shown = shorten(text, room)
        if shown:
            kept.append((shown, tone))
        room -= line_width([(shown, tone)])
        if shown != text:
            break
    return kept


def fill(line: Line, width: int, tone: str = "text") -> Line:
    """Shorten or pad a line to exactly `width` cells."""
    cropped = crop(line, width)
    space = width - line_width(cropped)
    return [*cropped, (" " * space, tone)] if space > 0 else cropped


def ends(left: Line, right: Line, width: int) -> Line:
    """Put `left` and `right` at the two ends of a line; the left one is shortened if both do not fit."""
    room = width - line_width(right)
    if room < 1 or (right and left and room < 6):
        return fill(left, width)
    return [*fill(left, room - 1), (" ", "text"), *right]


def beside(left: Sequence[Line], right: Sequence[Line], width: int) -> list[Line]:
    """Put lines beside each other; the left ones take `width` cells."""
    return [[*fill(one, width), *other] for one, other in zip(left, right, strict=False)]


def rule(width: int, title: Line, remark: Line | None = None, edges: str = "──", tone: str = "rule") -> Line:
    """`─ title ────── remark ─`. `edges` are the two characters at the ends."""
    if remark and not line_width(remark):
        remark = None
    inside = width - 2
    right: Line = [(" ", "text"), *remark, (f" ─{edges[1]}", tone)] if remark else [(edges[1], tone)]
    left: Line = [(f"{edges[0]}─ ", tone), *title, (" ", "text")] if title else [(edges[0], tone)]
    gap = width - line_width(left) - line_width(right)
    if gap < 1 and remark:
        return rule(width, title, None, edges, tone)
    if gap < 0:
        left = [(f"{edges[0]}─ ", tone), *crop(title, max(0, inside - 3)), (" ", "text")]
        gap = max(0, width - line_width(left) - line_width(right))
    return [*left, ("─" * gap, tone), *right]


def first_fitting(title: Line, remarks: Sequence[Line], width: int) -> Line:
    """Return the first of the remarks that fits beside a title in a `rule`; the last one if none does."""
    room = width - line_width(title) - _RULE_EDGES
    return next((remark for remark in remarks if line_width(remark) <= room), remarks[-1])


def frame(
    body: Sequence[Line], width: int, height: int, title: Line, remark: Line | None = None, tone: str = "rule"
) -> list[Line]:
    """Put `height - 2` lines of `body` into a frame with round corners; lines are padded or shortened."""
    if width < LEAST_FRAME_WIDTH or height < 3:
        return [crop(line, width) for line in body][:height]
    edge: Line = [("│ ", tone)]
    rows = [*body[: height - 2], *([[]] * max(0, height - 2 - len(body)))]
    return [
        rule(width, title, remark, "╭╮", tone),
        *([*edge, *fill(row, width - 4), (" │", tone)] for row in rows),
        [(f"╰{'─' * (width - 2)}╯", tone)],
    ]


class FramedLines(LineWidget):
    """A widget that draws its own frame: round corners if `boxed`, else a rule above."""

    boxed = True


def framed(
    body: Sequence[Line], width: int, height: int, title: Line, remark: Line, *, has_focus: bool, boxed: bool
) -> list[Line]:
    """Return `height` lines: the title and the remark in the upper edge, and the body below it.

    With `boxed`, lines of the body are `width - 2` cells wide, else `width`.
    """
    tone = "muted" if has_focus else "rule"
    if not boxed:
        return [rule(width, title, remark, tone=tone), *body[: height - 1]]
    rows = [*body[: height - 2], *([[]] * max(0, height - 2 - len(body)))]
    return [
        rule(width, title, remark, "╭╮", tone),
        *([("│", tone), *fill(row, width - 2), ("│", tone)] for row in rows),
        [(f"╰{'─' * (width - 2)}╯", tone)],
    ]


def inner_size(width: int, height: int, *, boxed: bool) -> tuple[int, int]:
    """Return the width and the height of the body of `framed`."""
    return (max(0, width - 2), max(0, height - 2)) if boxed else (width, max(0, height - 1))


def meter(fraction: float | None, columns: int, tone: str) -> Line:
    """Return a bar with a resolution of half a cell: the filled part in `tone`, the rest dim."""
    part = 0.0 if fraction is None or not math.isfinite(fraction) else min(1.0, max(0.0, fraction))
    halves = round(part * 2 * columns)
    done = _FULL * (halves // 2) + _HALF * (halves % 2)
    spans: Line = [(done, tone)] if done else []
    rest = columns - len(done)
    return [*spans, (_FULL * rest, "meterdim")] if rest else spans


def level(fraction: float | None) -> str:
    """Return one block whose height shows a fraction; an unknown one is blank."""
    if fraction is None or not math.isfinite(fraction):
        return " "
    return _BLOCKS[min(8, max(1, math.ceil(fraction * 8 - 1e-9)))]


def history(fractions: Sequence[float | None], columns: int, rows: int) -> list[str]:
    """Return blocks for the last `columns` of fractions of the height, the newest at the right."""
    missing: list[float | None] = [None] * max(0, columns - len(fractions))
    shown = missing + list(fractions[-columns:]) if columns > 0 else []
    eighths = [
        0 if part is None or not math.isfinite(part) else max(1, round(min(1.0, max(0.0, part)) * 8 * rows))
        for part in shown
    ]
    return [
        "".join(_BLOCKS[min(8, max(0, count - 8 * (rows - 1 - row)))] for count in eighths)
        for row in range(rows)
    ]


def spark(values: Sequence[float], columns: int) -> str:
    """Return one block for each of the last values, scaled to them; `!` stands for one that is not finite."""
    shown = places(values[-columns:]) if columns > 0 else []
    return "".join("!" if place is None else _BLOCKS[1 + round(6 * place)] for place in shown)


def places(values: Sequence[float]) -> list[float | None]:
    """Return where each value is between the lowest (0.0) and the highest (1.0); None if it is not finite."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    # Halves, because the difference of two finite values may not be one.
    span = high / 2 - low / 2
    return [
        None if not math.isfinite(value) else (value / 2 - low / 2) / span if span > 0 else 0.0
        for value in values
    ]
