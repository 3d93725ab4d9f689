"""The ranks pane: what each process of a run does, and which of them the others wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len

from torchconsole.engine.protocol.rank_loads import RankLoad
from torchconsole.engine.text import printable
from torchconsole.tui.device_readings import BUSY_GPU, FULL_MEMORY, WAIT_SHARE, format_amount
from torchconsole.tui.empty_texts import no_ranks
from torchconsole.tui.formatting import format_speed
from torchconsole.tui.rank_texts import (
    cause_of,
    describe_batch,
    describe_lr,
    describe_silence,
    describe_straggler,
    format_milliseconds,
    silence_of,
    speed_of_all,
    straggler_of,
    why_no_straggler,
)
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import padded, shorten
from torchconsole.tui.theme import paints
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.lines import Line, line_width, wrap
from torchconsole.tui.widgets.ordered_pane import OrderedPane

_GAP = "  "
_MACHINE_WIDTH = 20
_REMARK_WIDTH = 24
_LEAST_BAR, _MOST_BAR = 12, 40

_HEADINGS = ("rank", "machine", "device", "name", "use", "memory", "step", "own", "data", "comm.")
_LEFT = (1, 2, 3)
_DROPPED = (3, 7, 5, 2, 4, 1)
"""Columns that are flush left, and those that are dropped from a narrow pane, in this order."""

_ORDERS: Mapping[str, Callable[[RankLoad], float | str | None]] = {
    "own": lambda load: None if load.own_seconds is None else -load.own_seconds,
    "data": lambda load: _falling(load.share(load.data_seconds)),
    "comm.": lambda load: _falling(load.share(load.communication_seconds)),
    "use": lambda load: load.percent,
    "machine": lambda load: load.host,
}


class RanksPane(OrderedPane[int]):
    """`! 2  gpu-08  cuda:2  54 %  31.5/141G  52 ms  58 %  1 %  waits for data`: a row for each process."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(state, id="ranks")
        self._measured: tuple[object, dict[int, list[str]], list[int]] | None = None

    def source(self) -> object:
        """Return what the lines are made from."""
        run = self._state.run
        shown = run.ranks, run.processes, run.status
        return *shown, self._state.has_ended, paints(self.app), *self.arrangement

    def all_rows(self) -> Sequence[int]:
        """Return the ranks that were heard from."""
        return list(self._loads())

    def orders(self) -> Sequence[str]:
        """Return the orders: by rank, or by a column, the worst first."""
        return ("rank", *_ORDERS)

    def sort_key(self, row: int, order: str) -> float | str | None:
        """Return what sorts a rank."""
        return _ORDERS[order](self._loads()[row])

    def _loads(self) -> dict[int, RankLoad]:
        ranks = self._state.run.ranks
        return {load.rank: load for load in ranks.ranks} if ranks else {}

    def _measure(self) -> tuple[dict[int, list[str]], list[int]]:
        """Return the cells of each rank and the widths of the columns, which are found once."""
        ranks = self._state.run.ranks
        if self._measured is None or self._measured[0] is not ranks:
            cells = {rank: _cells(load) for rank, load in self._loads().items()}
            widths = [max(map(cell_len, column)) for column in zip(_HEADINGS, *cells.values(), strict=True)]
            self._measured = ranks, cells, widths
        return self._measured[1:]

    def _columns(self, width: int) -> list[int]:
        """Return the columns that fit."""
        widths = self._measure()[1]
        kept = list(range(len(_HEADINGS)))
        for dropped in _DROPPED:
            if 2 + sum(widths[index] + len(_GAP) for index in kept) <= width:
                break
            kept.remove(dropped)
        return kept

    def _cell(self, text: str, index: int) -> str:
        return padded(text, self._measure()[1][index], index not in _LEFT) + _GAP

    def heading(self, width: int) -> list[Line]:
        """Return what there is to say about the ranks, and the names of the columns."""
        ranks = self._state.run.ranks
        if ranks is None:
            return []
        silent = [load for load in ranks.ranks if silence_of(load, ranks)]
        lines: list[Line] = []
        if silent:
            lines += _wrapped(f"✗ {describe_silence(silent, ranks.time, width - 2)}", "bad", width)
        if found := straggler_of(self._state.run):
            lines += _wrapped(f"! {describe_straggler(found, width - 2)}", "attn", width)
        else:
            lines += _wrapped(why_no_straggler(ranks, self._state.run), "faint", width)
        names: Line = [("  ", "text")]
        for index in self._columns(width):
            is_order = _HEADINGS[index] == (self.order or "rank")
            names.append((self._cell(_HEADINGS[index], index), "bold strong" if is_order else "faint"))
        return [*lines, names]

    def row_lines(self, row: int, width: int) -> list[Line]:
        """Return the line of a rank, with a bar of its step where there is room."""
        load = self._loads()[row]
        cells = self._measure()[0][row]
        sign, remark, tone = self._remark_on(load)
        line: Line = [(sign, tone)]
        line += [(self._cell(cells[index], index), _tone(index, load)) for index in self._columns(width)]
        room = min(_MOST_BAR, width - line_width(line) - _REMARK_WIDTH)
        if room >= _LEAST_BAR and paints(self.app):
            line += [*_bar(load, room), (_GAP, "text")]
        if remark and line_width(line) + cell_len(remark) <= width:
            line.append((remark, tone))
        return [line]

    def _remark_on(self, load: RankLoad) -> tuple[str, str, str]:
        """Return the sign of a rank, what there is to say of it, and the tone of both."""
        ranks, found = self._state.run.ranks, straggler_of(self._state.run)
        if ranks and (silence := silence_of(load, ranks)):
            return "✗ ", silence, "bad"
        if found and found.load.rank == load.rank:
            return "! ", cause_of(found), "attn"
        return "  ", "", "text"

    def text_of(self, row: int) -> str:
        """Return what is searched, and copied."""
        load, cells = self._loads()[row], self._measure()[0][row]
        _, remark, _ = self._remark_on(load)
        named = [f"{name} {cell}" for name, cell in zip(_HEADINGS[4:], cells[4:], strict=True) if cell != "-"]
        where = f"rank {row} {cells[1]} {cells[2]} {cells[3]}".strip()
        return ", ".join([where, *named, *([remark] if remark else [])])

    def title(self) -> Line:
        """Return the title, the batch and the speed of all processes."""
        run = self._state.run
        line = self.arranged([("ranks", "bold strong"), (f" {run.processes:,}", "muted")])
        batch, equals, factors = describe_batch(run).partition(" = ")
        if batch:
            line += [("  batch ", "muted"), (batch, "bold text"), (f"{equals}{factors}", "faint")]
        speed = speed_of_all(run)
        is_training = not self._state.has_ended and run.status != "paused"
        if speed is not None and is_training:
            line += [(f"  {format_speed(speed):>6}", "bold train"), (" samples/s of all", "muted")]
        if scaled := describe_lr(run):
            line += [("  lr ", "muted"), (scaled, "faint")]
        if self._state.has_ended and run.ranks:
            line.append(("  as last measured", "faint"))
        return line

    def remark(self) -> Line:
        """Return the keys."""
        if not self._loads():
            return []
        hints = {"pane_order": "order", "pane_search": "search"}
        return key_hints(
            self.app, **({"next_match": "straggler"} if straggler_of(self._state.run) else {}), **hints
        )

    def empty(self) -> str:
        """Return what is shown before the processes are heard from."""
        return no_ranks(self._state)

    def action_order(self) -> None:
        """Sort by the next order, and show the first row."""
        super().action_order()
        self.highlight(0)

    def action_next_match(self) -> None:
        """Go to the next match of a search, else to the straggler."""
        found = straggler_of(self._state.run)
        if not self.query_text and found and found.load.rank in self._rows:
            self.highlight(self._rows.index(found.load.rank))
        else:
            super().action_next_match()


def _falling(value: float | None) -> float | None:
    return None if value is None else -value


def _cells(load: RankLoad) -> list[str]:
    def share(seconds: float | None) -> str:
        found = load.share(seconds)
        return "-" if found is None else f"{100 * found:.0f} %"

    return [
        f"{load.rank}",
        shorten(printable(load.host), _MACHINE_WIDTH, "middle"),
        printable(load.device),
        shorten(printable(load.device_name), _MACHINE_WIDTH),
        "-" if load.percent is None else f"{load.percent:.0f} %",
        "-" if load.memory_used is None else format_amount(load.memory_used, load.memory_total),
        "-" if load.step_seconds is None else format_milliseconds(load.step_seconds),
        "-" if load.own_seconds is None else format_milliseconds(load.own_seconds),
        share(load.data_seconds),
        share(load.communication_seconds),
    ]


def _tone(index: int, load: RankLoad) -> str:
    """Return the tone of a cell: numbers are bright, and those that tell of a problem yellow."""
    name = _HEADINGS[index]
    if name == "rank":
        return "bold strong"
    if name in ("machine", "device", "name"):
        return "muted" if name == "machine" else "faint"
    is_idle = load.percent is not None and load.percent < 100 * BUSY_GPU and load.device.startswith("cuda")
    is_full = load.memory_used and load.memory_total and load.memory_used >= FULL_MEMORY * load.memory_total
    waits = (load.share(load.data_seconds) or 0.0) >= WAIT_SHARE
    if {"use": is_idle, "memory": is_full, "data": waits}.get(name):
        return "attn"
    return "text"


def _bar(load: RankLoad, columns: int) -> Line:
    """Draw a step: waiting for data, computing, and the rest, waiting for others, dim."""
    data = load.share(load.data_seconds) or 0.0
    own = load.share(load.own_seconds)
    if own is None:
        return [(" " * columns, "text")]
    first, second = round(data * columns), round(own * columns)
    tone = "attn" if data >= WAIT_SHARE else "meterhist"
    parts = [(first, tone), (second - first, "train"), (columns - second, "meterdim")]
    return [("━" * cells, tone) for cells, tone in parts if cells > 0]


def _wrapped(text: str, tone: str, width: int) -> list[Line]:
    return [[(piece, tone)] for piece in wrap(text, width)]
