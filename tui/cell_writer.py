"""Writes to the terminal only the cells of a screen that differ from what is already shown there.

Textual writes each changed span from the left edge of its widget, and sets all colors again for every stretch
of text: for a screen on which 16 cells change, eight times as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from rich.cells import cell_len, get_character_cell_size
from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style

from torchconsole.tui.cell_output import (
    ATTRIBUTES,
    DEFAULT_BACKGROUND,
    DEFAULT_TEXT,
    MOST_PENS,
    RESET,
    SHOWN_ON_BLANKS,
    Output,
    Pen,
    Run,
    joined_pen,
)

Piece = tuple[int, int, Iterable[Segment]]
"""Row, first column and content of a part of the screen."""

UNKNOWN = "\0"
"""Stands for a cell whose content is not known."""

REST = ""
"""Stands for the second cell of a wide character."""

JOINER = "\u200d"
"""Makes one character of the two beside it."""

ROWS_TOGETHER = 10
"""Rows whose cells are written pen by pen; the upper ones appear first on a slow line."""

SHORT_GAP = 4
"""Columns between two changed cells that are written again rather than jumped over."""


class CellWriter:
    """Remembers every cell that it has written. Rows and columns are counted from 0."""

    def __init__(
        self,
        color_system: ColorSystem = ColorSystem.TRUECOLOR,
        indexes: Mapping[str, int] = {},
    ) -> None:
        """`indexes`: colors (`#rrggbb`) -> which of the 256 stands for it where Rich would choose another."""
        self._color_system = color_system
        self._indexes = indexes
        self._size = (0, 0)
        self._rows: dict[int, _Row] = {}
        self._pens: dict[Style | None, tuple[Pen, Pen]] = {}
        self.repeats = False
        """Whether the terminal knows REP, which repeats a character."""

    @property
    def color_system(self) -> ColorSystem:
        """How many colors there are. After a change, cells keep their colors until they are written again."""
        return self._color_system

    @color_system.setter
    def color_system(self, system: ColorSystem) -> None:
        if system is not self._color_system:
            self._color_system = system
            self._pens.clear()

    def clear(self) -> None:
        """Forget what is shown. Call this when another program may have written to the terminal."""
        self._rows.clear()

    def render(self, pieces: Iterable[Piece], size: tuple[int, int]) -> str:
        """Return what to write so that the terminal shows these pieces; empty if it does already.

        `size` is that of the screen, in columns and rows. Wrapping at the right edge must be off.
        """
        if size != self._size:
            self._size = size
            self.clear()
        before: dict[int, _Row] = {}
        for y, x, segments in pieces:
            if 0 <= y < size[1] and 0 <= x < size[0]:
                self._replace(before, y, x, segments)
        # Other programs may have moved the cursor and set colors, so each update sets them anew.
        out = Output(size[0], repeats=self.repeats)
        has_long_codes = self._color_system in (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT)
        rows_together = ROWS_TOGETHER if has_long_codes else 0
        runs: list[Run] = []
        for y in sorted(before):
            if runs and y - runs[0].y >= rows_together:
                out.write(runs, by_pen=has_long_codes)
                runs = []
            runs += self._rows[y].changed_runs(y, before[y])
        out.write(runs, by_pen=has_long_codes)
        return out.text

    def _replace(self, before: dict[int, _Row], y: int, x: int, segments: Iterable[Segment]) -> None:
        """Put a piece into its row, whose cells before this update are kept in `before`."""
        chars, pens = self._cells(segments)
        room = self._size[0] - x
        if len(chars) > room and chars[room] == REST:
            chars[room - 1] = " "
        row = self._rows.setdefault(y, _Row(self._size[0]))
        end = x + min(len(chars), room)
        if row.chars[x:end] != chars[:room] or row.pens[x:end] != pens[:room]:
            if y not in before:
                before[y] = row.copy()
            row.replace(x, chars[:room], pens[:room])

    def _cells(self, segments: Iterable[Segment]) -> tuple[list[str], list[Pen]]:
        chars: list[str] = []
        pens: list[Pen] = []
        for text, style, control in segments:
            if control:
                continue
            pen, blank = self._pens.get(style) or self._new_pen(style)
            found = text if text.isascii() and text.isprintable() else _split(text)
            chars += found
            if " " in text:
                pens += [blank if char == " " else pen for char in found]
            else:
                pens += [pen] * len(found)
        return chars, pens

    def _new_pen(self, style: Style | None) -> tuple[Pen, Pen]:
        if len(self._pens) >= MOST_PENS:
            self._pens.clear()
        pen = self._pen(style) if style else RESET
        blank = pen if pen[0] & SHOWN_ON_BLANKS else (0, "", pen[2])
        self._pens[style] = pen, blank
        return pen, blank

    def _pen(self, style: Style) -> Pen:
        attributes = sum(1 << bit for bit, (name, _, _) in enumerate(ATTRIBUTES) if getattr(style, name))
        return (
            attributes,
            self._codes(style.color, is_text=True) or DEFAULT_TEXT,
            self._codes(style.bgcolor, is_text=False) or DEFAULT_BACKGROUND,
        )

    def _codes(self, color: Color | None, *, is_text: bool) -> str:
        if color is None:
            return ""
        if color.triplet and self._color_system is ColorSystem.EIGHT_BIT:
            index = self._indexes.get(color.triplet.hex)
            color = color if index is None else Color.from_ansi(index)
        return ";".join(color.downgrade(self._color_system).get_ansi_codes(is_text))


class _Row:
    """A line of the screen: its characters and how they are drawn, one of each per cell."""

    def __init__(self, width: int) -> None:
        self.chars = [UNKNOWN] * width
        self.pens = [RESET] * width

    def copy(self) -> _Row:
        """Return a copy."""
        row = _Row(0)
        row.chars, row.pens = self.chars[:], self.pens[:]
        return row

    def replace(self, x: int, chars: list[str], pens: list[Pen]) -> None:
        """Put cells at column `x`.

        Half of a wide character cannot be shown: where the other half is replaced, it becomes a blank.
        """
        first, last = x, x + len(chars)
        if self.chars[first] == REST:
            self._blank(first - 1)
        if last < len(self.chars) and self.chars[last] == REST:
            self._blank(last)
        self.chars[first:last] = chars
        self.pens[first:last] = pens

    def _blank(self, column: int) -> None:
        self.chars[column] = " "
        self.pens[column] = (0, "", self.pens[column][2])

    def changed_runs(self, y: int, before: _Row) -> Iterator[Run]:
        """Yield what differs from the row before, as stretches that one pen draws, from left to right."""
        run: Run | None = None
        cells = zip(self.chars, before.chars, self.pens, before.pens, strict=True)
        # Most cells are as before: this line takes the most time of an update.
        changed = [x for x, (char, old, pen, was) in enumerate(cells) if char != old or pen != was]
        for column in changed:
            char, pen = self.chars[column], self.pens[column]
            if char == REST:
                if run is not None and run.end == column + 1:
                    continue
                column -= 1
                char = self.chars[column]
            width = 2 if self.chars[column + 1 : column + 2] == [REST] else 1
            is_sure = len(char) == 1 and char <= "\uffff"
            if run is not None and is_sure and run.is_sure and self._reaches(run, column):
                joined = joined_pen(run.pen, pen)
                if joined is not None:
                    run.pen = joined
                    run.text += "".join(self.chars[run.end : column]) + char
                    run.end = column + width
                    continue
            if run is not None:
                yield run
            run = Run(pen, y, column, column + width, char, is_sure)
        if run is not None:
            yield run

    def _reaches(self, run: Run, column: int) -> bool:
        """Whether the cells from a run to a column can be written again in fewer bytes than a jump takes."""
        between = "".join(self.chars[run.end : column])
        return (
            len(between) <= SHORT_GAP
            and UNKNOWN not in between
            and (between.isascii() or not between)
            and all(joined_pen(run.pen, pen) == run.pen for pen in self.pens[run.end : column])
        )


def _split(text: str) -> list[str]:
    """Return a text as one entry per cell: REST for the second cell of a wide character.

    Characters without a width belong to the one before them; control characters are left out.
    """
    if all(map(_is_single, text)):
        return list(text)
    groups: list[str] = []
    for char in text:
        if get_character_cell_size(char) and not (groups and groups[-1].endswith(JOINER)):
            groups.append(char)
        elif groups and (char.isprintable() or char == JOINER):
            groups[-1] += char
    cells = [cell for group in groups for cell in (group, *[REST] * (cell_len(group) - 1))]
    width = cell_len(text)
    return cells[:width] + [" "] * (width - len(cells))


@lru_cache(8192)
def _is_single(char: str) -> bool:
    """Whether a character takes one cell, whatever is beside it."""
    return get_character_cell_size(char) == 1
