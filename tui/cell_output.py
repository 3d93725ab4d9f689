"""The codes that draw runs of cells in few bytes: jumps of the cursor, colors, repeated characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

Pen = tuple[int, str, str]
"""How cells are drawn: attributes (bits), and the SGR codes of the text's color and of the background.

The color of the text is empty for blanks, which look the same in any.
"""

ATTRIBUTES = (
    ("bold", 1, 22), ("dim", 2, 22), ("italic", 3, 23), ("underline", 4, 24), ("blink", 5, 25),
    ("blink2", 6, 25), ("reverse", 7, 27), ("conceal", 8, 28), ("strike", 9, 29), ("underline2", 21, 24),
    ("frame", 51, 54), ("encircle", 52, 54), ("overline", 53, 55),
)  # fmt: skip
"""The name of each attribute of a Rich style, and the SGR codes that switch it on and off."""

SHOWN_ON_BLANKS = sum(
    1 << bit
    for bit, (name, _, _) in enumerate(ATTRIBUTES)
    if name in ("underline", "reverse", "strike", "underline2", "frame", "encircle", "overline")
)
DEFAULT_TEXT, DEFAULT_BACKGROUND = "39", "49"
RESET: Pen = (0, DEFAULT_TEXT, DEFAULT_BACKGROUND)

MOST_PENS = 4096

_REPEATED = re.compile(r"(.)\1{2,}")


@dataclass(slots=True)
class Run:
    """Cells beside each other that one pen draws; `end` is the column after the last one.

    Terminals disagree about the width of an unsure character (an emoji, one with combining characters).
    """

    pen: Pen
    y: int
    x: int
    end: int
    text: str
    is_sure: bool = True


class Output:
    """The codes of one update. The cursor's place and the pen are unknown at its beginning.

    `repeats`: the terminal knows REP, which repeats the character before it.
    """

    def __init__(self, width: int, *, repeats: bool = False) -> None:
        self._parts: list[str] = []
        self._width = width
        self._repeats = repeats
        self._cursor: tuple[int, int] | None = None
        self._pen: Pen | None = None

    @property
    def text(self) -> str:
        """Everything written."""
        return "".join(self._parts)

    def write(self, runs: Sequence[Run], *, by_pen: bool) -> None:
        """Write runs in their order; or all of a pen together, where setting a pen takes more than a jump.

        Unsure characters come first: they may spoil the cells beside them.
        """
        if not by_pen:
            for run in runs:
                self._write(run)
            return
        groups: dict[Pen, list[Run]] = {}
        for run in runs:
            if run.is_sure:
                groups.setdefault(run.pen, []).append(run)
            else:
                self._write(run)
        _merge_blanks(groups)
        while groups:
            pen = min(groups, key=self._cost) if self._pen else next(iter(groups))
            for run in groups.pop(pen):
                self._write(run)

    def _cost(self, pen: Pen) -> int:
        return len(codes_between(self._pen, pen)[0])

    def _write(self, run: Run) -> None:
        self._move(run.y, run.x)
        self._set_pen(run.pen)
        if not run.is_sure:
            # Leave no old cell beneath it, and do not rely on the cursor.
            self._parts.append(f"{' ' * (run.end - run.x)}\x1b[{run.y + 1};{run.x + 1}H{run.text}")
            self._cursor = None
            return
        self._parts.append(_REPEATED.sub(_repeat, run.text) if self._repeats else run.text)
        self._cursor = (run.y, run.end) if run.end < self._width else None

    def _move(self, y: int, column: int) -> None:
        """Move the cursor in the fewest bytes."""
        if self._cursor == (y, column):
            return
        absolute = f"\x1b[{y + 1};{column + 1}H" if column else f"\x1b[{y + 1}H"
        if self._cursor is None or self._cursor[0] > y:
            self._parts.append(absolute)
            return
        relative = _down(y - self._cursor[0]) + _sideways(column - self._cursor[1])
        self._parts.append(relative if len(relative) < len(absolute) else absolute)

    def _set_pen(self, pen: Pen) -> None:
        if pen is self._pen:
            return
        codes, self._pen = codes_between(self._pen, pen)
        if codes:
            self._parts.append(f"\x1b[{codes}m")


def _merge_blanks(groups: dict[Pen, list[Run]]) -> None:
    """Have blanks drawn by another pen of their background, if there is one."""
    for blank in [pen for pen in groups if not pen[1]]:
        other = next((pen for pen in groups if pen is not blank and joined_pen(pen, blank) == pen), None)
        if other is not None:
            groups[other] = sorted(groups[other] + groups.pop(blank), key=_place)


def _place(run: Run) -> tuple[int, int]:
    return run.y, run.x


def _repeat(match: re.Match[str]) -> str:
    """Return the shorter one of a repeated character's texts: itself, or the character and REP."""
    text, char = match.group(), match.group(1)
    repeated = f"{char}\x1b[{len(text) - 1}b"
    return repeated if len(repeated.encode()) < len(text.encode()) else text


def _down(rows: int) -> str:
    return f"\x1b[{rows}B" if rows > 1 else "\x1b[B" if rows else ""


def _sideways(columns: int) -> str:
    if columns > 0:
        return f"\x1b[{columns}C" if columns > 1 else "\x1b[C"
    return min("\b" * -columns, f"\x1b[{-columns}D", key=len)


@lru_cache(MOST_PENS)
def codes_between(current: Pen | None, pen: Pen) -> tuple[str, Pen]:
    """Return the shortest SGR codes from one pen to another, and the pen that the terminal has then."""
    attributes, text, background = pen
    all_codes = ";".join(("0", *_attribute_codes(0, attributes), *_unless(text), *_unless(background)))
    after_reset = (attributes, text or DEFAULT_TEXT, background)
    if current is None:
        return all_codes, after_reset
    keep = current[0] & ~SHOWN_ON_BLANKS if not text else 0
    wanted = (attributes | keep, text or current[1], background)
    codes = list(_attribute_codes(current[0], wanted[0]))
    codes += [new for old, new in zip(current[1:], wanted[1:], strict=True) if old != new]
    difference = ";".join(codes)
    return (difference, wanted) if len(difference) <= len(all_codes) else (all_codes, after_reset)


def _attribute_codes(before: int, after: int) -> Iterable[str]:
    """Yield the SGR codes that change the attributes. A code that switches off may do so for two."""
    off = dict.fromkeys(code for bit, (_, _, code) in enumerate(ATTRIBUTES) if before & ~after & 1 << bit)
    yield from map(str, off)
    for bit, (_, code, ends) in enumerate(ATTRIBUTES):
        if after & 1 << bit and (not before & 1 << bit or ends in off):
            yield str(code)


def _unless(codes: str) -> Iterable[str]:
    """Yield a color's codes, unless a reset sets it anyway."""
    if codes not in ("", DEFAULT_TEXT, DEFAULT_BACKGROUND):
        yield codes


def joined_pen(current: Pen, pen: Pen) -> Pen | None:
    """Return the pen that draws cells of both pens, None if there is none."""
    if pen == current or not (pen[1] or codes_between(current, pen)[0]):
        return current
    if not current[1] and not codes_between(pen, current)[0]:
        return pen
    return None
