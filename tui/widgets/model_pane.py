"""The model pane: the modules as a tree, with their sizes, or with what is measured of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from rich.cells import cell_len
from textual.message import Message

from torchconsole.engine.protocol.commands import Command, FreezeLayer, MeasureLayers, UnfreezeLayer
from torchconsole.engine.protocol.events import LayersMeasured
from torchconsole.engine.protocol.info import LayerInfo, ModelSummary
from torchconsole.engine.text import printable
from torchconsole.tui.empty_texts import no_model
from torchconsole.tui.formatting import format_count
from torchconsole.tui.keys import COLUMNS, bindings
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import Cut, padded, shorten
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.frames import meter
from torchconsole.tui.widgets.layer_table import SIZES, LayerReadings, LayerTable, is_frozen
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.ordered_pane import ALL, OrderedPane

ORDERS = ("as built", "params", "MACs", "memory")

_LONGEST_NAME, _LEAST_NAME = 32, 8
_LONGEST_TYPE = 22
_WIDEST_BAR, _LEAST_BAR = 16, 4
_GAP = "  "
_LaidOut = tuple[int, Sequence[LayerInfo], LayerTable, bool, dict[str, int], int]
"""What the columns were laid out for (width, layers, table, is a tree), their widths, that of the bars."""

_WIDE = 90
"""Width from which the title leaves room for more keys than that of the order."""


class ModelPane(OrderedPane[LayerInfo]):
    """`▾ block  Sequential  128x16x16  73,728 ━━━━  18.9M ━━  128 kB`: a line for each module.

    As built, the modules are a tree whose branches can be collapsed; sorted, or searched, all are shown.
    While the layers are measured, the line has the newest figures, and says what is wrong with them.
    """

    class Asked(Message):
        """The user asks for a command, which would `verb`."""

        def __init__(self, command: Command, verb: str) -> None:
            super().__init__()
            self.command = command
            self.verb = verb

    BINDINGS = bindings(COLUMNS)
    VIEWS = (ALL, "layers")

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(state, id="model")
        self._laid_out: _LaidOut = (0, [], SIZES, True, {}, 0)
        self._measured: tuple[LayersMeasured | None, ModelSummary | None] = (None, None)
        self._readings: LayerReadings | None = None
        self._outer_of: Sequence[LayerInfo] = []
        self._outer: set[str] = set()
        """The names of the modules that have modules of their own, in the layers `_outer_of`."""
        self._collapsed: frozenset[str] = frozenset()

    @property
    def _summary(self) -> ModelSummary | None:
        return self._state.run.summary

    def source(self) -> object:
        """Return the summary, which the state replaces whenever it changes, and the order."""
        return id(self._summary), self._state.run.layers_measured, self._collapsed, *self.arrangement

    def all_rows(self) -> Sequence[LayerInfo]:
        """Return the modules as built."""
        return self._summary.layers if self._summary else []

    @property
    def readings(self) -> LayerReadings | None:
        """What was measured last; None if the layers are not measured."""
        measured, summary = self._state.run.layers_measured, self._summary
        if measured is not self._measured[0] or summary is not self._measured[1]:
            self._measured = (measured, summary)
            self._readings = None
            if measured is not None:
                norms = self._state.run.gradient_norms
                self._readings = LayerReadings(self.all_rows(), measured, norms)
        return self._readings

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
        line: Line = []
        for name, text in self._columns(width, row):
            if name.startswith("share"):
                line += self._bar(name, row, len(text) - len(_GAP), is_frozen=is_frozen(row))
                continue
            tone = {"layer": "bold strong" if row.depth == 0 else "text", "type": "muted"}.get(name, "text")
            line.append((text, "faint" if is_frozen(row) and name != "layer" else tone))
        if is_frozen(row):
            line.append(("frozen", "steer"))
        elif self.readings:
            is_collapsed = self._is_tree and row.name in self._collapsed
            line.append((self.readings.words(row, with_inner=is_collapsed), "attn"))
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
        table = self._table
        widths, bar = self._layout(width)
        found: list[tuple[str, str]] = []
        for name, room in widths.items():
            # The end of a whole name tells more than its beginning, which many layers share.
            cut: Cut = "start" if name == "layer" and not self._is_tree else "middle"
            text = name if row is None else shorten(self._cell(name, row), room, cut)
            found.append((name, padded(text, room, name in table.numbers) + _GAP))
            if name in table.shares and bar >= _LEAST_BAR:
                found.append((f"share of {name}", " " * (bar + len(_GAP))))
        return found

    def _cell(self, name: str, row: LayerInfo) -> str:
        """Return the text of a cell."""
        if name != "layer":
            return self._table.cells[name](row)
        if not self._is_tree:
            return printable(row.name)
        last = row.name.rpartition(".")[2] or row.name
        return f"{'  ' * row.depth}{self._sign(row)}{printable(last)}"

    def _sign(self, row: LayerInfo) -> str:
        """Return whether a module is collapsed; nothing if no module has modules of its own."""
        if row.name not in self._branches():
            return "  " if self._branches() else ""
        return "▸ " if row.name in self._collapsed else "▾ "

    @property
    def _table(self) -> LayerTable:
        return self.readings.table if self.readings else SIZES

    def _layout(self, width: int) -> tuple[dict[str, int], int]:
        """Return the widths of the columns that fit, and of the bars; some give way to others."""
        summary, table = self._summary, self._table
        assert summary is not None
        layers, is_tree = summary.layers, self._is_tree
        laid_out = self._laid_out
        if laid_out[1] is layers and laid_out[2] is table and (laid_out[0], laid_out[3]) == (width, is_tree):
            return laid_out[4:]
        widths = {
            name: max(
                [cell_len(self._cell(name, layer)) for layer in layers]
                + [len(name), table.least if name in table.numbers else 0]
            )
            for name in table.cells
            if name not in self._needless()
        }
        longest = _LONGEST_NAME if is_tree else max(_LONGEST_NAME, width // 2)
        widths["layer"] = max(_LEAST_NAME, min(longest, widths["layer"]))
        if "type" in widths:
            widths["type"] = min(_LONGEST_TYPE, widths["type"])
        rest = 0
        for dropped in ("", *table.giving_way):
            widths.pop(dropped, None)
            rest = width - self._room_for_words() - sum(widths.values()) - len(_GAP) * len(widths)
            if rest >= 0:
                break
        widths["layer"] = max(_LEAST_NAME, widths["layer"] + min(0, rest))
        bars = sum(name in widths for name in table.shares)
        bar = min(_WIDEST_BAR, rest // bars - len(_GAP)) if bars else 0
        self._laid_out = (width, layers, table, is_tree, widths, bar)
        return widths, bar

    def _room_for_words(self) -> int:
        """Return the columns for what is said at the end of a line."""
        if self.readings:
            return len("vanishing")
        has_frozen = any(map(is_frozen, self.all_rows()))
        return len("frozen") if has_frozen else 0

    def _needless(self) -> Sequence[str]:
        """Return the columns that say nothing: all is trained, or the memory is not known."""
        summary = self._summary
        assert summary is not None
        trainable = ["trainable"] * (summary.trainable == summary.params)
        return [*trainable, *["memory"] * (summary.activations is None)]

    def text_of(self, row: LayerInfo) -> str:
        """Return what is searched, and copied."""
        return f"{printable(row.name)} {printable(row.type)} {SIZES.cells['output'](row)} {row.params:,}"

    def action_statistics(self) -> None:
        """Have the layers measured, or end that."""
        every = 0 if self._state.run.layers_measured else MeasureLayers().every
        self.post_message(self.Asked(MeasureLayers(every=every), "measure the layers"))

    def action_freeze(self) -> None:
        """Freeze the highlighted module, or train it again."""
        row = self.highlighted_row
        if row is None:
            return
        if row.trainable:
            self.post_message(self.Asked(FreezeLayer(layer=row.name), "freeze the layer"))
        else:
            self.post_message(self.Asked(UnfreezeLayer(layer=row.name), "unfreeze the layer"))

    def title(self) -> Line:
        """Return the title with the totals, or with what is measured."""
        summary, measured = self._summary, self._state.run.layers_measured
        if summary is None:
            return [("layers", "bold strong")]
        if measured is not None:
            source = " in an uncompiled pass" if measured.eager else ""
            text = f" measured in step {measured.step:,}{source}, every {measured.every:,} steps"
            return [("layers", "bold strong"), (text, "muted")]
        trained = "all trained" if summary.trainable == summary.params else f"{summary.trainable:,} trained"
        macs = ""
        if summary.macs is not None:
            macs = f", {'' if summary.macs_complete else '>'}{format_count(summary.macs)} MACs"
        size = "x".join(map(str, summary.input_shape))  # empty for a program, whose inputs are not known
        total = f" {summary.params:,} parameters, {trained}{macs}{f' of {size}' if size else ''}"
        return [("layers", "bold strong"), (total, "muted")]

    def remark(self) -> Line:
        """Return the order, the view and, where there is room, the keys that change something."""
        if self._summary is None:
            return []
        order = f"{self.order or ORDERS[0]}{', reversed' if self.is_reversed else ''}"
        view = {} if self.view == ALL else {"view": self.view}
        is_wide = self.size.width >= _WIDE
        keys = {"pane_statistics": "statistics", "pane_freeze": "freeze"}
        offered = keys if is_wide and self._state.is_steerable else {}
        return key_hints(self.app, **offered, pane_order=order, **view)

    def empty(self) -> str:
        """Return what is shown without a model."""
        return no_model(self._state)


def _outer(name: str) -> Iterator[str]:
    """Yield the names of all modules around a module."""
    while name := name.rpartition(".")[0]:
        yield name
