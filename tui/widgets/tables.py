"""The table panes: the model's layers, and the latest confusion matrix."""

from __future__ import annotations

from rich.cells import cell_len
from textual.strip import Strip

from torchconsole.engine.protocol.info import ConfusionMatrix, LayerInfo, ModelSummary
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_count
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import align, shorten
from torchconsole.tui.widgets.lines import Line, line_width, wrap
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines

_GAP = "  "

_HEADINGS = ("layer", "type", "output", "params", "trainable", "MACs")
_NUMBER_COLUMNS = (3, 4, 5)
_SHORTEST_LAYER_NAME = 8

_NO_MATRIX = "no confusion matrix: not evaluated yet, no classes, or too many classes"
_CORNER = "true \\ predicted"
_LONGEST_TRUE_NAME, _LONGEST_PREDICTED_NAME = 20, 12


class LayerTable(ScrolledLines):
    """Type, output shape, parameters and multiply-accumulates of each module, and the totals.

    One line per module with its full name, the totals in the last line.
    """

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="layers")
        self._state = state

    def source(self) -> object:
        """Return the summary, which the state replaces whenever it changes."""
        return self._state.run.summary

    def heading(self, width: int) -> list[Line]:
        """Return the columns' names."""
        summary = self._state.run.summary
        return [[(_layer_rows(summary, width)[0], "muted")]] if summary else []

    def body(self, width: int) -> list[Line]:
        """Return the modules in the order of the model, then the totals."""
        summary = self._state.run.summary
        if summary is None:
            return [[("the model is not built yet", "muted")]]
        *rows, total = _layer_rows(summary, width)[1:]
        return [*([(row, "plain")] for row in rows), [(total, "strong")]]


def _layer_rows(summary: ModelSummary, width: int) -> list[str]:
    """The headings, the modules and the totals, aligned; layer names are shortened if the width is short."""
    rows = [_HEADINGS, *map(_layer_cells, summary.layers), _total_cells(summary)]
    lines = align(rows, right=_NUMBER_COLUMNS)
    rest = sum(len(_GAP) + cell_len(cell) for cell in lines[0][1:])
    room = max(_SHORTEST_LAYER_NAME, width - rest)
    names = [shorten(line[0].rstrip(), room).ljust(min(room, len(line[0]))) for line in lines]
    return [_GAP.join([name, *line[1:]]) for name, line in zip(names, lines, strict=True)]


def _layer_cells(layer: LayerInfo) -> tuple[str, ...]:
    shape = "x".join(map(str, layer.output_shape)) if layer.output_shape is not None else "?"
    macs = format_count(layer.macs) if layer.macs is not None else "?"
    return (
        printable(layer.name),
        printable(layer.type),
        shape,
        f"{layer.params:,}",
        f"{layer.trainable:,}",
        macs,
    )


def _total_cells(summary: ModelSummary) -> tuple[str, ...]:
    macs = format_count(summary.macs) if summary.macs is not None else "?"
    shape = "x".join(map(str, summary.input_shape))
    macs_at_least = macs if summary.macs_complete else f">{macs}"
    return "total", "", f"of {shape}", f"{summary.params:,}", f"{summary.trainable:,}", macs_at_least


class ConfusionTable(ScrolledLines):
    """A row for each true class and a column for each predicted one, with the diagonal emphasized.

    The names of the true classes stay in place when the table is scrolled sideways.
    """

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="confusion")
        self._state = state
        self._name_width = 0
        self._extent = 0

    def source(self) -> object:
        """Return the evaluation, which the state replaces whenever it changes."""
        return self._state.run.last_confusion

    def heading(self, width: int) -> list[Line]:
        """Return the predicted classes, and measure the columns for the body as well."""
        cells = self._cells()
        self._name_width = cell_len(cells[0][0]) if cells else 0
        self._extent = cell_len(_GAP.join(cells[0])) if cells else 0
        return [[(_GAP.join(cells[0]), "muted")]] if cells else []

    def body(self, width: int) -> list[Line]:
        """Return the true classes, and the step of the evaluation."""
        evaluation = self._state.run.last_confusion
        if evaluation is None:
            return [[(piece, "muted")] for piece in wrap(_NO_MATRIX, width)]
        rows = [_confusion_row(cells, number) for number, cells in enumerate(self._cells()[1:], start=1)]
        return [*rows, [(f"after step {evaluation.step:,}", "muted")]]

    def extent(self, width: int) -> int:
        """Return the width of the widest row."""
        return max(width, self._extent)

    def paint(self, line: Line, width: int) -> Strip:
        """Render the class name and, after it, the columns that are scrolled into view."""
        strip = self._palette.strip(line, max(width, line_width(line)))
        offset = self.scroll_offset.x
        visible = strip.crop(self._name_width + offset, width + offset)
        return Strip.join([strip.crop(0, self._name_width), visible])

    def _cells(self) -> list[list[str]]:
        """The column names and the rows, aligned; empty without a matrix."""
        evaluation = self._state.run.last_confusion
        matrix = evaluation and evaluation.confusion
        return _confusion_cells(matrix) if matrix else []


def _confusion_cells(matrix: ConfusionMatrix) -> list[list[str]]:
    names = [printable(name) for name in matrix.classes]
    rows = [[_CORNER, *(shorten(name, _LONGEST_PREDICTED_NAME) for name in names)]]
    for name, counts in zip(names, matrix.counts, strict=True):
        rows.append([shorten(name, _LONGEST_TRUE_NAME), *map(_count_cell, counts)])
    return align(rows, right=range(1, len(names) + 1))


def _count_cell(count: float) -> str:
    """A count, or a share of a normalized matrix; zeros are dots, because most cells are zero."""
    if not count:
        return "·"
    return f"{count:,}" if isinstance(count, int) else f"{count:.2f}"


def _confusion_row(cells: list[str], number: int) -> Line:
    """The row of a true class; `cells[number]` is on the diagonal."""
    line: Line = [(cells[0], "muted")]
    for column, cell in enumerate(cells[1:], start=1):
        tone = "strong" if column == number else "muted" if cell.strip() == "·" else "plain"
        line.append((_GAP + cell, tone))
    return line
