"""A grid of cells, each with a character, the tone of its text and that of its background."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from torchconsole.tui.charts import braille

Span = tuple[str, str]
"""Text and its tone: a name of a color, or `text on background`."""

Line = list[Span]

_BLANK = ord(" ")
_NO_BACKGROUND = 0
_FIRST_LINE, _LAST_BLOCK = 0x2500, 0x2588
"""The lines of a grid and the blocks of a band lie between these code points."""


class Canvas:
    """Cells of shape (rows, columns). What is outside of it is not drawn."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._codes = np.full((rows, columns), _BLANK, dtype=np.uint32)
        self._text = np.zeros((rows, columns), dtype=np.int16)
        self._ground = np.zeros((rows, columns), dtype=np.int16)
        self._tones = ["text"]
        self._grounds = [""]

    def paint(self, cells: NDArray[np.bool_] | tuple[slice, slice], ground: str) -> None:
        """Give cells a background."""
        self._ground[cells] = self._index(self._grounds, ground)

    def put(
        self, cells: NDArray[np.bool_], codes: NDArray[np.uint32] | str, tone: str, ground: str | None = None
    ) -> None:
        """Write characters into cells; they keep their background unless another is given.

        cells: (rows, columns); codes: the code points of that shape, or one character.
        """
        self._codes[cells] = ord(codes) if isinstance(codes, str) else codes[cells]
        self._text[cells] = self._index(self._tones, tone)
        if ground is not None:
            self.paint(cells, ground)

    def put_at(self, row: int, column: int, text: str, tone: str, ground: str | None = None) -> None:
        """Write text from a cell on, as far as it is on the canvas."""
        first, last = max(0, column), min(self.columns, column + len(text))
        if not (0 <= row < self.rows and first < last):
            return
        cells = (slice(row, row + 1), slice(first, last))
        shown = text[first - column : last - column]
        self._codes[cells] = np.frombuffer(shown.encode("utf-32-le", "replace"), dtype="<u4")
        self._text[cells] = self._index(self._tones, tone)
        if ground is not None:
            self.paint(cells, ground)

    @property
    def codes(self) -> NDArray[np.uint32]:
        """The code points of the characters, shape (rows, columns). A view."""
        return self._codes

    @property
    def has_dots(self) -> NDArray[np.bool_]:
        """Which cells are part of a line or have a sign, not only of the grid; shape (rows, columns)."""
        is_drawn: NDArray[np.bool_] = (self._codes > _LAST_BLOCK) | (
            (self._codes > _BLANK) & (self._codes < _FIRST_LINE)
        )
        return is_drawn

    def has_ground(self, ground: str) -> NDArray[np.bool_]:
        """Which cells have this background, shape (rows, columns)."""
        found: NDArray[np.bool_] = self._ground == self._index(self._grounds, ground)
        return found

    @property
    def is_blank(self) -> NDArray[np.bool_]:
        """Which cells have no character, shape (rows, columns)."""
        is_blank: NDArray[np.bool_] = self._codes == _BLANK
        return is_blank

    def lines(self) -> list[Line]:
        """Return the rows as spans of one tone; a blank cell has the tone of the text left of it."""
        if not self.columns:
            return [[] for _ in range(self.rows)]
        starts = ~self.is_blank
        starts[:, 0] = True
        starts[:, 1:] |= self._ground[:, 1:] != self._ground[:, :-1]
        latest = np.maximum.accumulate(np.where(starts, np.arange(self.columns), 0), axis=1)
        text = np.take_along_axis(self._text, latest, axis=1).ravel()
        ground = self._ground.ravel()
        changes = (text[1:] != text[:-1]) | (ground[1:] != ground[:-1])
        changes[self.columns - 1 :: self.columns] = True
        cuts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(text)]
        characters = braille.to_text(self._codes)
        lines: list[Line] = [[] for _ in range(self.rows)]
        for start, end in itertools.pairwise(cuts):
            tone = self._tones[text[start]]
            if ground[start] != _NO_BACKGROUND:
                tone = f"{tone} on {self._grounds[ground[start]]}"
            lines[start // self.columns].append((characters[start:end], tone))
        return lines

    @staticmethod
    def _index(names: list[str], name: str) -> int:
        if name not in names:
            names.append(name)
        return names.index(name)


def width_of(line: Line) -> int:
    """Return the cells of a line; each character takes one."""
    return sum(len(text) for text, _ in line)


def cut(line: Line, width: int) -> Line:
    """Cut a line that is too long, with … at its end."""
    if width_of(line) <= width:
        return line
    kept: Line = []
    for text, tone in line:
        room = width - width_of(kept)
        if len(text) > room:
            return [*kept, (text[: max(0, room - 1)] + "…", tone)] if room > 0 else kept
        kept.append((text, tone))
    return kept


def padded(line: Line, width: int) -> Line:
    """Return a line of exactly this width."""
    gap = width - width_of(line)
    return [*line, (" " * gap, "text")] if gap > 0 else cut(line, width)
