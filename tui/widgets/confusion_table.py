"""The latest confusion matrix: a line for each true class, a column for each predicted one."""

from __future__ import annotations

from rich.cells import cell_len
from textual.strip import Strip

from torchconsole.engine.protocol.info import ConfusionMatrix
from torchconsole.engine.text import printable
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import align
from torchconsole.tui.widgets.lines import Line, elide, line_width
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines, wrap

_ABSENT = "no confusion matrix: nothing is evaluated yet, or there are no classes, or too many"
_CORNER = "true \\ predicted"
_GAP = "  "
_LONGEST_NAME, _LONGEST_HEADING = 20, 12


class ConfusionTable(ScrolledLines):
    """Right answers stand out on the diagonal. The true classes' names stay where it is scrolled sideways."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="confusion")
        self._state = state
        self._names = 0
        self._extent = 0

    def source(self) -> object:
        """Replaced by the state whenever it changes."""
        return self._state.run.last_confusion

    def heading(self, width: int) -> list[Line]:
        """The predicted classes. Measures the columns, which the body has too."""
        table = self._table()
        self._names = cell_len(table[0][0]) if table else 0
        self._extent = cell_len(_GAP.join(table[0])) if table else 0
        return [[(_GAP.join(table[0]), "muted")]] if table else []

    def body(self, width: int) -> list[Line]:
        """The true classes, and which step this tells of."""
        evaluation = self._state.run.last_confusion
        if evaluation is None:
            return [[(piece, "muted")] for piece in wrap(_ABSENT, width)]
        rows = [_row(cells, number) for number, cells in enumerate(self._table()[1:], start=1)]
        return [*rows, [(f"after step {evaluation.step:,}", "muted")]]

    def extent(self, width: int) -> int:
        """See ScrolledLines."""
        return max(width, self._extent)

    def paint(self, line: Line, width: int) -> Strip:
        """See ScrolledLines: the part of the columns that is scrolled to, behind the names."""
        strip = self._palette.strip(line, max(width, line_width(line)))
        offset = self.scroll_offset.x
        return Strip.join([strip.crop(0, self._names), strip.crop(self._names + offset, width + offset)])

    def _table(self) -> list[list[str]]:
        """The columns' names and the rows, in columns as wide as they need."""
        evaluation = self._state.run.last_confusion
        matrix = evaluation and evaluation.confusion
        return _cells(matrix) if matrix else []


def _cells(matrix: ConfusionMatrix) -> list[list[str]]:
    names = [printable(name) for name in matrix.classes]
    rows = [[_CORNER, *(elide(name, _LONGEST_HEADING) for name in names)]]
    for name, counts in zip(names, matrix.counts, strict=True):
        rows.append([elide(name, _LONGEST_NAME), *map(_cell, counts)])
    return align(rows, right=range(1, len(names) + 1))


def _cell(count: float) -> str:
    """A count, or a share of a normalised matrix; the many zeros keep out of sight."""
    if not count:
        return "·"
    return f"{count:,}" if isinstance(count, int) else f"{count:.2f}"


def _row(cells: list[str], number: int) -> Line:
    """A true class; `cells[number]` is where it was recognised."""
    line: Line = [(cells[0], "muted")]
    for column, cell in enumerate(cells[1:], start=1):
        tone = "strong" if column == number else "muted" if cell.strip() == "·" else "plain"
        line.append((_GAP + cell, tone))
    return line
