"""The model pane: a table of the layers, with bars for their shares of the parameters and of the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len

from torchconsole.engine.protocol.info import LayerInfo, ModelSummary
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_count
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import padded, shorten
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.frames import meter
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.ordered_pane import ALL, OrderedPane

ORDERS = ("as built", "params", "MACs")

_LONGEST_NAME, _LEAST_NAME = 32, 8
_LONGEST_TYPE = 22
_WIDEST_BAR, _LEAST_BAR = 16, 4
_GAP = "  "


class ModelPane(OrderedPane[LayerInfo]):
    """`conv  Conv2d  128x16x16  73,728 ━━━━  18.9M ━━`: a line for each module, indented by its depth."""

    VIEWS = (ALL, "layers")

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(state, id="model")
        self._laid_out: tuple[int, list[LayerInfo], dict[str, int], int] = (0, [], {}, 0)
        self._outer_of: Sequence[LayerInfo] = []
        self._outer: set[str] = set()
        """The names of the modules that have modules of their own, in the layers `_outer_of`."""

    @property
    def _summary(self) -> ModelSummary | None:
        return self._state.run.summary

    def source(self) -> object:
        """Return the summary, which the state replaces whenever it changes, and the order."""
        return id(self._summary), *self.arrangement

    def all_rows(self) -> Sequence[LayerInfo]:
        """Return the modules as built."""
        return self._summary.layers if self._summary else []

    def orders(self) -> Sequence[str]:
        """Return the orders: as built, or the most parameters or multiply-accumulates first."""
        return ORDERS

    def sort_key(self, row: LayerInfo, order: str) -> float:
        """Return what sorts a module."""
        return -float(row.params if order == "params" else row.macs or 0)

    def is_in_view(self, row: LayerInfo, view: str) -> bool:
        """Whether a module is a layer: it has no modules of its own."""
        layers = self.all_rows()
        if self._outer_of is not layers:
            self._outer_of, self._outer = layers, {name for layer in layers for name in _outer(layer.name)}
        return row.name not in self._outer

    def heading(self, width: int) -> list[Line]:
        """Return the columns' names; the one that sorts is bright."""
        if self._summary is None:
            return []
        line: Line = []
        for name, text in self._columns(width, None):
            tone = "bold strong" if name == self.order else "faint"
            line.append((text, tone))
        return [line]

    def row_lines(self, row: LayerInfo, width: int) -> list[Line]:
        """Return the line of a module."""
        is_frozen = row.params > 0 and row.trainable == 0
        line: Line = []
        for name, text in self._columns(width, row):
            if name.startswith("share"):
                line += self._bar(name, row, len(text) - len(_GAP), is_frozen=is_frozen)
                continue
            tone = {"layer": "bold strong" if row.depth == 0 else "text", "type": "muted"}.get(name, "text")
            line.append((text, "faint" if is_frozen and name != "layer" else tone))
        if is_frozen:
            line.append((" frozen", "steer"))
        return [line]

    def _bar(self, name: str, row: LayerInfo, columns: int, *, is_frozen: bool) -> Line:
        summary = self._summary
        assert summary is not None
        part, whole = (row.params, summary.params) if name == "share" else (row.macs, summary.macs)
        tone = "faint" if is_frozen else "train" if row.depth else "meter"
        bar: Line = meter(part / whole, columns, tone) if part and whole else [(" " * columns, "text")]
        return [*bar, (_GAP, "text")]

    def _columns(self, width: int, row: LayerInfo | None) -> list[tuple[str, str]]:
        """Return name and text of the columns; without a row their headings."""
        widths, bar = self._layout(width)
        found: list[tuple[str, str]] = []
        for name, room in widths.items():
            text = name if row is None else shorten(_CELLS[name](row), room, "middle")
            found.append((name, padded(text, room, name in _NUMBERS) + _GAP))
            if name in _NUMBERS and bar >= _LEAST_BAR:
                found.append(("share" if name == "params" else "share of MACs", " " * (bar + len(_GAP))))
        return found

    def _layout(self, width: int) -> tuple[dict[str, int], int]:
        """Return the widths of the columns that fit, and of the bars; output, MACs and type give way."""
        summary = self._summary
        assert summary is not None
        if self._laid_out[0] == width and self._laid_out[1] is summary.layers:
            return self._laid_out[2:]
        layers = summary.layers
        widths = {
            name: max([cell_len(cell(layer)) for layer in layers] + [len(name)])
            for name, cell in _CELLS.items()
        }
        widths["layer"] = min(_LONGEST_NAME, widths["layer"])
        widths["type"] = min(_LONGEST_TYPE, widths["type"])
        frozen = len(" frozen") if any(layer.params and not layer.trainable for layer in layers) else 0
        rest = 0
        for dropped in ("", "output", "MACs", "type"):
            widths.pop(dropped, None)
            rest = width - frozen - sum(widths.values()) - len(_GAP) * len(widths)
            if rest >= 0:
                break
        widths["layer"] = max(_LEAST_NAME, widths["layer"] + min(0, rest))
        bar = min(_WIDEST_BAR, rest // sum(name in widths for name in _NUMBERS) - len(_GAP))
        self._laid_out = (width, layers, widths, bar)
        return widths, bar

    def text_of(self, row: LayerInfo) -> str:
        """Return what is searched, and copied."""
        return f"{printable(row.name)} {printable(row.type)} {_shape(row)} {row.params:,}"

    def title(self) -> Line:
        """Return the title with the totals."""
        summary = self._summary
        if summary is None:
            return [("layers", "bold strong")]
        trained = "all trained" if summary.trainable == summary.params else f"{summary.trainable:,} trained"
        macs = ""
        if summary.macs is not None:
            macs = f", {'' if summary.macs_complete else '>'}{format_count(summary.macs)} MACs"
        size = "x".join(map(str, summary.input_shape))  # empty for a program, whose inputs are not known
        total = f" {summary.params:,} parameters, {trained}{macs}{f' of {size}' if size else ''}"
        return [("layers", "bold strong"), (total, "muted")]

    def remark(self) -> Line:
        """Return the order and the view."""
        if self._summary is None:
            return []
        order = f"{self.order or ORDERS[0]}{', reversed' if self.is_reversed else ''}"
        view = {} if self.view == ALL else {"view": self.view}
        return key_hints(self.app, pane_order=order, **view)

    def empty(self) -> str:
        """Return what is shown before the model is built."""
        return "the model is not built yet" if self._state.run.is_live else "the model was never built"


def _outer(name: str) -> Iterator[str]:
    """Yield the names of all modules around a module."""
    while name := name.rpartition(".")[0]:
        yield name


def _name(layer: LayerInfo) -> str:
    """Return the name of a module in the one around it, indented by their depth."""
    last = layer.name.rpartition(".")[2] or layer.name
    return "  " * layer.depth + printable(last)


def _type(layer: LayerInfo) -> str:
    return printable(layer.type)


def _shape(layer: LayerInfo) -> str:
    return "?" if layer.output_shape is None else "x".join(map(str, layer.output_shape))


def _params(layer: LayerInfo) -> str:
    return f"{layer.params:,}" if layer.params else "-"


def _macs(layer: LayerInfo) -> str:
    return "?" if layer.macs is None else format_count(layer.macs) if layer.macs else "-"


_CELLS: dict[str, Callable[[LayerInfo], str]] = {
    "layer": _name,
    "type": _type,
    "output": _shape,
    "params": _params,
    "MACs": _macs,
}
_NUMBERS = ("params", "MACs")
