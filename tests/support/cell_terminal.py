"""A terminal of cells: it obeys what the console and Textual write, and knows each cell's character and look.

pyte has neither dim nor the cells of a terminal that does not wrap, and leaves half a wide character behind.
"""

from __future__ import annotations

import re

from rich.cells import split_graphemes

Look = tuple[frozenset[int], str, str]
"""Attributes (SGR numbers), color and background of a cell."""

PLAIN: Look = (frozenset(), "39", "49")
ENDS = {22: {1, 2}, 23: {3}, 24: {4, 21}, 25: {5, 6}, 27: {7}, 28: {8}, 29: {9}, 54: {51, 52}, 55: {53}}
SHOWN_ON_BLANKS = {4, 7, 9, 21, 51, 52, 53}
CODE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\n\x08]|([^\x1b\n\x08]+)")


class CellTerminal:
    """The cells of a terminal that does not wrap at its right edge."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.cells = [[("?", PLAIN)] * width for _ in range(height)]
        self.touched: set[int] = set()
        """The lines written to; for whoever clears it."""
        self._x = self._y = 0
        self._look = PLAIN
        self._last = ""
        """The character that REP repeats."""

    def feed(self, output: str) -> None:
        """Obey the output of a program. Raises AssertionError at a code that this terminal does not know."""
        end = 0
        for found in CODE.finditer(output):
            assert found.start() == end, repr(output[end : found.start()])
            end = found.end()
            numbers, final, text = found.groups()
            if text:
                self._draw(text)
                self._last = text[-1]
            elif final == "b":
                self._draw(self._last * int(numbers))
            elif final:
                self._control(numbers, final)
            elif found[0] == "\b":
                self._x = max(0, self._x - 1)
            elif found[0] == "\n":
                self._x, self._y = 0, self._y + 1
        assert end == len(output), repr(output[end:])

    def seen(self, y: int) -> list[tuple[str, Look]]:
        """Return what a person sees in each cell of a line: blanks look the same in any color of the text."""
        return [_seen(*cell) for cell in self.cells[y]]

    def text(self) -> str:
        """Return the characters of the screen, line by line."""
        return "\n".join("".join(char for char, _ in line).rstrip() for line in self.cells)

    def _control(self, numbers: str, final: str) -> None:
        if numbers.startswith("?"):
            return
        values = [int(number or 0) for number in numbers.split(";")]
        if final == "m":
            self._set_look(values)
        elif final == "H":
            row, column = (*values, 1)[:2]
            self._y, self._x = max(row, 1) - 1, max(column, 1) - 1
        elif final == "B":
            self._y += max(values[0], 1)
        elif final == "D":
            self._x = max(0, self._x - max(values[0], 1))
        elif final == "C":
            self._x = min(self._x + max(values[0], 1), self.width - 1)
        elif final != "n":
            raise AssertionError(f"unknown code: {numbers}{final}")

    def _set_look(self, values: list[int]) -> None:
        attributes, text, back = self._look
        while values:
            code = values.pop(0)
            if code == 0:
                attributes, text, back = PLAIN
            elif code in (38, 48):
                count = 2 if values[0] == 5 else 4
                color = ";".join(map(str, (code, *values[:count])))
                del values[:count]
                text, back = (color, back) if code == 38 else (text, color)
            elif code in ENDS:
                attributes -= ENDS[code]
            elif 30 <= code <= 39 or 90 <= code <= 97:
                text = str(code)
            elif 40 <= code <= 49 or 100 <= code <= 107:
                back = str(code)
            else:
                attributes |= {code}
        self._look = (attributes, text, back)

    def _draw(self, text: str) -> None:
        text = text.replace("\u200b", "")  # invisible
        for start, end, width in split_graphemes(text)[0]:
            x = self._x
            if width == 0 or self._y >= self.height or x >= self.width:
                continue  # right after a resize Textual may draw lines that are too long
            char = text[start:end]
            if x + width > self.width:
                char, width = " ", 1  # half of a wide character
            line = self.cells[self._y]
            self.touched.add(self._y)
            if line[x][0] == "":
                line[x - 1] = _half(line[x - 1])
            if x + width < self.width and line[x + width][0] == "":
                line[x + width] = _half(line[x + width])
            line[x] = (char, self._look)
            if width == 2:
                line[x + 1] = ("", self._look)
            self._x = x + width


def _half(cell: tuple[str, Look]) -> tuple[str, Look]:
    """What a terminal leaves of a wide character of which the other half was replaced."""
    return " ", (frozenset(), "39", cell[1][2])


def _seen(char: str, look: Look) -> tuple[str, Look]:
    attributes, _, back = look
    if char == " " and not attributes & SHOWN_ON_BLANKS:
        return " ", (frozenset(), "", back)
    return char, look
