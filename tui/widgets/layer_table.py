"""The layer table: each module's type, output shape, parameters and multiply-accumulates."""

from __future__ import annotations

from rich.cells import cell_len

from torchconsole.engine.protocol.info import LayerInfo, ModelSummary
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_count
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import align
from torchconsole.tui.widgets.lines import Line, elide
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines

_HEADINGS = ("layer", "type", "output", "params", "trainable", "MACs")
_NUMBERS = (3, 4, 5)
_GAP = "  "
_SHORTEST_NAME = 8


class LayerTable(ScrolledLines):
    """One line a module by its full name, the totals in the last line."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="layers")
        self._state = state

    def source(self) -> object:
        """Replaced by the state whenever it changes."""
        return self._state.run.summary

    def heading(self, width: int) -> list[Line]:
        """The columns' names."""
        summary = self._state.run.summary
        return [[(_table(summary, width)[0], "muted")]] if summary else []

    def body(self, width: int) -> list[Line]:
        """The modules in the order of the model, then their sum."""
        summary = self._state.run.summary
        if summary is None:
            return [[("the model is not built yet", "muted")]]
        *rows, total = _table(summary, width)[1:]
        return [*([(row, "plain")] for row in rows), [(total, "strong")]]


def _table(summary: ModelSummary, width: int) -> list[str]:
    """The headings, the modules and the totals in columns as wide as they need; names give way."""
    rows = [_HEADINGS, *map(_layer_cells, summary.layers), _total_cells(summary)]
    lines = align(rows, right=_NUMBERS)
    rest = sum(len(_GAP) + cell_len(cell) for cell in lines[0][1:])
    room = max(_SHORTEST_NAME, width - rest)
    names = [elide(line[0].rstrip(), room).ljust(min(room, len(line[0]))) for line in lines]
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
