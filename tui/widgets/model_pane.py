"""The model pane: the modules as a tree, with bars for their shares of the parameters and of the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set

from rich.cells import cell_len

from torchconsole.engine.protocol.info import LayerInfo, ModelSummary
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_bytes, format_count
from torchconsole.tui.keys import COLUMNS, bindings
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import padded, shorten
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.frames import meter
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.ordered_pane import ALL, OrderedPane

ORDERS = ("as built", "params", "MACs", "memory")

_LONGEST_NAME, _LEAST_NAME = 32, 8
_LONGEST_TYPE = 22
_WIDEST_BAR, _LEAST_BAR = 16, 4
_GAP = "  "


class ModelPane(OrderedPane[LayerInfo]):
    """`▾ block  Sequential  128x16x16  73,728 ━━━━  18.9M ━━  128 kB`: a line for each module.

    As built, the modules are a tree whose branches can be collapsed; sorted, or searched, all are shown.
    """

    BINDINGS = bindings(COLUMNS)
    VIEWS = (ALL, "layers")

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(state, id="model")
        self._laid_out: tuple[int, list[LayerInfo], dict[str, int], int] = (0, [], {}, 0)
        self._outer_of: Sequence[LayerInfo] = []
        self._outer: set[str] = set()
        """The names of the modules that have modules of their own, in the layers `_outer_of`."""
        self._collapsed: frozenset[str] = frozenset()

    @property
    def _summary(self) -> ModelSummary | None:
        return self._state.run.summary

    def source(self) -> object:
        """Return the summary, which the state replaces whenever it changes, and the order."""
        return id(self._summary), self._collapsed, *self.arrangement

    def all_rows(self) -> Sequence[LayerInfo]:
        """Return the modules as built."""
        return self._summary.layers if self._summary else []

    def orders(self) -> Sequence[str]:
        """Return the orders: as built, or the most parameters, multiply-accumulates or memory first."""
        return ORDERS

    def sort_key(self, row: LayerInfo, order: str) -> float:
        """Return what sorts a module."""
        values = {"params": row.params, "MACs": row.macs, "memory": row.activations}
        return -float(values[order] or 0)

    def is_in_view(self, row: LayerInfo, view: str) -> bool:
        """Whether a module is a layer: it has no modules of its own."""
        return row.name not in self._branches()

    def _branches(self) -> Set[str]:
        """Return the names of the modules that have modules of their own."""
        layers = self.all_rows()
        if self._outer_of is not layers:
            self._outer_of, self._outer = layers, {name for layer in layers for name in _outer(layer.name)}
        return self._outer

    @property
    def _is_tree(self) -> bool:
        """Whether modules stand below the one around them."""
        return self.is_first_order and not self.is_reversed and self.view == ALL

    def rows(self) -> Sequence[LayerInfo]:
        """Return the modules of the view, sorted; of a tree those that are not in a collapsed one."""
        rows = super().rows()
        if not (self._is_tree and self._collapsed):
            return rows
        return [row for row in rows if self._collapsed.isdisjoint(_outer(row.name))]

    def search(self, text: str) -> None:
        """Go to what `text` asks for, in any module."""
        self._collapsed = frozenset()
        super().search(text)

    def action_choose(self) -> None:
        """Collapse or expand the highlighted module."""
        row = self.highlighted_row
        if row is not None and self._is_tree and row.name in self._branches():
            self._collapsed ^= {row.name}
            self.redraw()

    def action_column_left(self) -> None:
        """Collapse the highlighted module, or go to the one around it."""
        row = self.highlighted_row
        if row is None or not self._is_tree:
            return
        if row.name in self._branches() - self._collapsed:
            self.action_choose()
            return
        around = row.name.rpartition(".")[0]
        found = (index for index, other in enumerate(self.rows()) if other.name == around)
        self.highlight(next(found, self.highlighted))

    def action_column_right(self) -> None:
        """Expand the highlighted module, or go to the first one in it."""
        row = self.highlighted_row
        if row is None or not self._is_tree or row.name not in self._branches():
            return
        if row.name in self._collapsed:
            self.action_choose()
        else:
            self.highlight(self.highlighted + 1)

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
        part, whole = (row.params, summary.params) if name == "share of params" else (row.macs, summary.macs)
        tone = "faint" if is_frozen else "train" if row.depth else "meter"
        bar: Line = meter(part / whole, columns, tone) if part and whole else [(" " * columns, "text")]
        return [*bar, (_GAP, "text")]

    def _columns(self, width: int, row: LayerInfo | None) -> list[tuple[str, str]]:
        """Return name and text of the columns; without a row their headings."""
        widths, bar = self._layout(width)
        found: list[tuple[str, str]] = []
        for name, room in widths.items():
            text = name if row is None else shorten(self._cell(name, row), room, "middle")
            found.append((name, padded(text, room, name in _NUMBERS) + _GAP))
            if name in _SHARES and bar >= _LEAST_BAR:
                found.append((f"share of {name}", " " * (bar + len(_GAP))))
        return found

    def _cell(self, name: str, row: LayerInfo) -> str:
        """Return the text of a cell."""
        if name != "layer":
            return _CELLS[name](row)
        last = row.name.rpartition(".")[2] or row.name
        return f"{'  ' * row.depth}{self._sign(row)}{printable(last)}"

    def _sign(self, row: LayerInfo) -> str:
        """Return whether a module is collapsed; nothing if no module has modules of its own."""
        if not self._branches():
            return ""
        if not self._is_tree or row.name not in self._branches():
            return "  "
        return "▸ " if row.name in self._collapsed else "▾ "

    def _layout(self, width: int) -> tuple[dict[str, int], int]:
        """Return the widths of the columns that fit, and of the bars; those in `_GIVING_WAY` give way."""
        summary = self._summary
        assert summary is not None
        if self._laid_out[0] == width and self._laid_out[1] is summary.layers:
            return self._laid_out[2:]
        layers = summary.layers
        widths = {
            name: max([cell_len(self._cell(name, layer)) for layer in layers] + [len(name)])
            for name in _CELLS
            if name not in self._needless()
        }
        widths["layer"] = min(_LONGEST_NAME, widths["layer"])
        widths["type"] = min(_LONGEST_TYPE, widths["type"])
        frozen = len(" frozen") if any(layer.params and not layer.trainable for layer in layers) else 0
        rest = 0
        for dropped in ("", *_GIVING_WAY):
            widths.pop(dropped, None)
            rest = width - frozen - sum(widths.values()) - len(_GAP) * len(widths)
            if rest >= 0:
                break
        widths["layer"] = max(_LEAST_NAME, widths["layer"] + min(0, rest))
        bar = min(_WIDEST_BAR, rest // sum(name in widths for name in _SHARES) - len(_GAP))
        self._laid_out = (width, layers, widths, bar)
        return widths, bar

    def _needless(self) -> Sequence[str]:
        """Return the columns that say nothing: all is trained, or the memory is not known."""
        summary = self._summary
        assert summary is not None
        trainable = ["trainable"] * (summary.trainable == summary.params)
        return [*trainable, *["memory"] * (summary.activations is None)]

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


def _type(layer: LayerInfo) -> str:
    return printable(layer.type)


def _shape(layer: LayerInfo) -> str:
    return "?" if layer.output_shape is None else "x".join(map(str, layer.output_shape))


def _params(layer: LayerInfo) -> str:
    return f"{layer.params:,}" if layer.params else "-"


def _macs(layer: LayerInfo) -> str:
    return "?" if layer.macs is None else format_count(layer.macs) if layer.macs else "-"


def _trainable(layer: LayerInfo) -> str:
    return f"{layer.trainable:,}" if layer.trainable else "-"


def _memory(layer: LayerInfo) -> str:
    return "?" if layer.activations is None else format_bytes(layer.activations) if layer.activations else "-"


_CELLS: dict[str, Callable[[LayerInfo], str]] = {
    "layer": lambda layer: layer.name,
    "type": _type,
    "output": _shape,
    "params": _params,
    "trainable": _trainable,
    "MACs": _macs,
    "memory": _memory,
}
_NUMBERS = ("params", "trainable", "MACs", "memory")
_SHARES = ("params", "MACs")
"""Numbers that have a bar beside them."""
_GIVING_WAY = ("output", "trainable", "memory", "MACs", "type")
"""The columns that are dropped if there is no room, the first one first."""
