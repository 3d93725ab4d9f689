"""A confusion matrix as a heat map: a part of it in a window, with the names of the classes beside it."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from torchconsole.engine.protocol.info import ConfusionMatrix
from torchconsole.engine.text import printable
from torchconsole.tui.confusion import class_scores, is_counted, macro
from torchconsole.tui.table import padded, shorten
from torchconsole.tui.widgets.lines import Line, line_width

WIDEST_NAME, WIDEST_CELL, NARROWEST_CELL = 16, 9, 4
_SCROLLED_CELL = 7
_ROOMY_CELL = 6
"""The columns of a cell where all of them fit."""

_LOWEST = (0.98, 0.95, 0.9, 0.8, 0.5, 0.0)
"""The lowest share of right predictions that the colors of the diagonal begin with."""

_ERROR_STEPS = (0.04, 0.125, 0.3, 0.65)
"""Shares of the largest confusion from which the next color begins."""

_LEAST_LARGEST = 0.02
_REVERSED_FROM = 0.03
HEAT, ERRORS = 7, 5
"""The numbers of colors, `heat0` to `heat6` and `err0` to `err4`."""


@dataclass(frozen=True)
class Window:
    """The part that is shown: the first row and column, and how many of each. `cell` is in columns."""

    row: int
    column: int
    rows: int
    columns: int
    cell: int
    name: int
    tall: bool
    """Whether a class has two rows of the terminal."""


class HeatMap:
    """The texts and tones of a matrix. `as_shares` shows percentages of the true class."""

    def __init__(self, matrix: ConfusionMatrix, *, as_shares: bool, painted: bool) -> None:
        self.names = [printable(name) for name in matrix.classes]
        self._painted = painted
        self._matrix = matrix
        counts = matrix.counts
        totals = [sum(cell for cell in row if cell > 0) for row in counts]
        self.shares = [
            [max(0.0, cell / total) if total else 0.0 for cell in row]
            for row, total in zip(counts, totals, strict=True)
        ]
        if as_shares:
            self.texts = [[f"{100 * share:.1f}" if share else "·" for share in row] for row in self.shares]
        elif is_counted(matrix):
            self.texts = [[f"{int(cell):,}" if cell else "·" for cell in row] for row in counts]
        else:
            self.texts = [[f"{cell:.2f}" if cell else "·" for cell in row] for row in counts]
        right = [row[index] for index, row in enumerate(self.shares) if totals[index]]
        self.lowest = next(low for low in _LOWEST if low <= min(right, default=0.0))
        wrong = [share for y, row in enumerate(self.shares) for x, share in enumerate(row) if x != y]
        self._largest = max([_LEAST_LARGEST, *wrong])

    def window(self, width: int, height: int, row: int, column: int) -> Window:
        """Return the window that shows the cell (`row`, `column`); one line of the height is the heading."""
        count = len(self.names)
        name = min(WIDEST_NAME, max(4, width // 4), max(map(cell_len, self.names)))
        needed = self._longest() + 2
        wanted = max(needed, _ROOMY_CELL, min(WIDEST_CELL, max(map(cell_len, self.names)) + 1))
        room = max(1, width - name - 2)
        cell = max(NARROWEST_CELL, needed, min(wanted, room // count))
        if cell * count > room:  # they scroll anyway: then their names shall be told apart
            cell = max(cell, min(wanted, _SCROLLED_CELL))
        columns = max(1, min(count, room // cell))
        tall = 2 * count + 1 <= height - 1
        rows = max(1, min(count, height - 1))
        return Window(
            _start(row, rows, count), _start(column, columns, count), rows, columns, cell, name, tall
        )

    def tone(self, row: int, column: int) -> str:
        """Return the tone of a cell."""
        share = self.shares[row][column]
        if not self._painted:
            if row == column:
                return "bold strong"
            return "ink on val" if share >= _REVERSED_FROM else "text" if share else "faint"
        color = self.color(row, column)
        level = int(color[-1])
        if row == column:
            return f"bold {'ink' if level > 3 else 'strong'} on {color}"
        return f"{('faint', 'muted', 'text', 'strong', 'ink')[level]} on {color}"

    def color(self, row: int, column: int) -> str:
        """Return the name of a cell's color."""
        share = self.shares[row][column]
        if row == column:
            return self.heat(share)
        part = share / self._largest
        return f"err{sum(part >= step for step in _ERROR_STEPS)}"

    def heat(self, share: float) -> str:
        """Return the color of a share of right predictions."""
        if not share:
            return "heat0"
        part = (share - self.lowest) / (1 - self.lowest)
        return f"heat{1 + min(HEAT - 2, max(0, int(part * (HEAT - 1))))}"

    def lines(self, window: Window, cursor: tuple[int, int] | None) -> list[Line]:
        """Return the heading and the rows of a window. `cursor` is the highlighted cell."""
        columns = range(window.column, window.column + window.columns)
        flush = window.cell - (2 if window.cell >= max(_ROOMY_CELL, self._longest() + 3) else 1)
        lines = [self._heading(window, columns, cursor)]
        rows = range(window.row, window.row + window.rows)
        if window.tall and self._painted:
            lines.append(self._border(window, None, rows[0], columns))
        for row in rows:
            is_marked = cursor is not None and cursor[0] == row
            name = padded(shorten(self.names[row], window.name, "middle"), window.name, flush_right=True)
            line: Line = [(name, "bold strong on select" if is_marked else "text"), ("  ", "text")]
            for column in columns:
                text = f"{self.texts[row][column]:>{flush}}"[: window.cell - 1]
                if cursor == (row, column):
                    marked = f"[{text.strip()}]"
                    line.append((f"{marked:>{window.cell - 1}} "[: window.cell], self.tone(row, column)))
                else:
                    line.append((f"{text:<{window.cell}}", self.tone(row, column)))
            lines.append(line)
            if window.tall:
                after = row + 1 if row + 1 < len(self.names) else None
                lines.append(self._border(window, row, after, columns) if self._painted else [])
        return lines

    def legend(self, window: Window, cursor: tuple[int, int] | None, room: int, keys: str) -> Line:
        """Return what the highlighted cell says or, without a cursor, the meaning of the colors.

        `keys` are those that go to the classes that have no room.
        """
        if cursor is not None:
            row, column = cursor
            cell = self._matrix.counts[row][column]
            count = f"{cell:,}" if isinstance(cell, int) else f"{cell:,.4g}"
            line: Line = [("true ", "faint"), (self.names[row], "bold strong"), ("  predicted ", "faint")]
            line.append((self.names[column], "bold strong"))
            return [*line, (f"  {count}  {self.shares[row][column]:.1%}", "text")]
        mean = macro(class_scores(self._matrix), "recall")
        figures: Line = [] if mean is None else [("macro recall ", "muted"), (f"{mean:.4f}", "bold strong")]
        hidden = len(self.names) - window.columns
        if hidden:
            figures += [(f"   {hidden} more classes: {keys}", "faint")]
        if not self._painted or room < 60 + line_width(figures):
            return figures
        colors: Line = [("correct ", "faint"), *((" " * 2, f"text on heat{level}") for level in range(1, 7))]
        colors += [(f" {self.lowest:g} to 1", "faint"), ("   confused ", "faint")]
        colors += [(" " * 2, f"text on err{level}") for level in range(1, 5)]
        return [*figures, ("   ", "text"), *colors]

    def _longest(self) -> int:
        """Return the width of the longest text in a cell."""
        return max(len(text) for texts in self.texts for text in texts)

    def _heading(self, window: Window, columns: range, cursor: tuple[int, int] | None) -> Line:
        line: Line = [(" " * (window.name + 2), "text")]
        for column in columns:
            name = padded(
                shorten(self.names[column], window.cell - 1, "middle"), window.cell - 1, flush_right=True
            )
            is_marked = cursor is not None and cursor[1] == column
            line += [(name, "bold strong on select" if is_marked else "muted"), (" ", "text")]
        return line

    def _border(self, window: Window, above: int | None, below: int | None, columns: range) -> Line:
        """Return the half rows between two classes."""
        line: Line = [(" " * (window.name + 2), "text")]
        for column in columns:
            upper = "bg" if above is None else self.color(above, column)
            lower = "bg" if below is None else self.color(below, column)
            line.append(("▄" * window.cell, f"{lower} on {upper}"))
        return line


def _start(wanted: int, shown: int, count: int) -> int:
    """Return the first of `shown` rows, so that `wanted` is in the middle as far as the ends allow."""
    return max(0, min(wanted - shown // 2, count - shown))
