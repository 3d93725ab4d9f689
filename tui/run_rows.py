"""The rows of the menu's list of runs: columns that give way in a fixed order, and their colored cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_metric, format_number, format_percent
from torchconsole.tui.metric_direction import monitored_metric
from torchconsole.tui.palette import COMPARED
from torchconsole.tui.run_listing import PROBLEMS, format_age, problem
from torchconsole.tui.table import padded, shorten
from torchconsole.tui.widgets.frames import crop, places
from torchconsole.tui.widgets.lines import Line, line_width

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord

STATUS_LOOKS: Mapping[str, tuple[str, str]] = {
    "starting": ("◐", "attn"),
    "running": ("●", "good"),
    "evaluating": ("●", "good"),
    "pausing": ("‖", "attn"),
    "paused": ("‖", "attn"),
    "suspended": ("‖", "attn"),
    "stopping": ("◐", "attn"),
    "finished": ("✓", "train"),
    "stopped": ("■", "muted"),
    "failed": ("✗", "bad"),
    "lost": ("✗", "bad"),
    "interrupted": ("✗", "bad"),
    "unreadable": ("✗", "bad"),
    "unreachable": ("✗", "bad"),
    "deleting": ("◐", "attn"),
}
"""Status -> its sign and tone."""

GAP = 2
BAR, SPARK = 7, 9
MOST_NAME, MOST_TEXT = 60, 24
NAME_WIDTHS = ((28, 9), (24, 3), (12, 1))
"""Cells of names, and the rank from which on columns are dropped until names have them."""

MARGIN = 4
"""Cells before the name: the highlight's bar, the sign of a selected run, that of the status, a blank."""

PROBLEM_NAME = 24
"""Cells of the name of what cannot be read, so that there is room for the reason."""

_BLOCKS = "▁▂▃▄▅▆▇"


@dataclass(frozen=True)
class RunFacts:
    """A run in the list. `trail`: its monitored metric, oldest first; None before it is read."""

    record: RunRecord
    now: float
    trail: Sequence[float] | None = None

    @property
    def metric(self) -> str:
        """The metric that decides which checkpoint is the best."""
        return monitored_metric(self.record)


@dataclass(frozen=True)
class RunColumn:
    """A column. `rank`: the column with the highest is dropped first, those with rank 0 never.

    `order` is the order of ORDERS that a click on the heading sets. `cells` draws the cell; `width` is that
    of the widest cell, or None if it has to be measured.
    """

    heading: str
    order: str
    rank: int
    cells: Callable[[RunFacts], Line]
    right: bool = False
    width: int | None = None


def status_word(record: RunRecord) -> str:
    """Return the status in one word."""
    return record.shown_status.partition(" ")[0]


def status_look(status: str) -> tuple[str, str]:
    """Return the sign and the tone of a status."""
    return STATUS_LOOKS.get(status, ("◐", "attn"))


def short_metric(metric: str) -> str:
    """Return a metric's name without `val/`."""
    return metric.removeprefix("val/")


def spark(values: Sequence[float], width: int, *, is_live: bool) -> Line:
    """Draw the last values as blocks, in the color of the validation split: all of a live run bright, of an
    ended one the newest. Values that are not finite are drawn as ✗.
    """
    shown = places(values[-width:])
    line: Line = []
    for index, place in enumerate(shown):
        if place is None:
            line.append(("✗", "bad"))
            continue
        block = _BLOCKS[min(len(_BLOCKS) - 1, int(place * len(_BLOCKS)))]
        is_newest = is_live or index == len(shown) - 1
        line.append((block, "val" if is_newest else "valdim"))
    return line


def bar(fraction: float | None, width: int, tone: str) -> Line:
    """Draw progress as a line of `width` cells, in half steps."""
    if fraction is None:
        return [("─" * width, "meterdim")]
    halves = round(2 * width * max(0.0, min(1.0, fraction)))
    full, half = divmod(halves, 2)
    return [
        ("━" * full + "╸" * half, tone),
        ("━" * (width - full - half), "meterdim"),
    ]


def _name(facts: RunFacts) -> Line:
    record = facts.record
    return [(printable(record.name[:500]), "strong" if record.is_live else "text")]


def _status(facts: RunFacts) -> Line:
    word = status_word(facts.record)
    return [(word, status_look(word)[1])]


def _bar(facts: RunFacts) -> Line:
    record = facts.record
    tone = status_look(status_word(record))[1]
    return bar(record.progress, BAR, "meter" if tone in ("train", "muted") else tone)


def _percent(facts: RunFacts) -> Line:
    done = facts.record.progress
    return [("" if done is None else format_percent(done), "muted")]


def _spark(facts: RunFacts) -> Line:
    return spark(facts.trail or (), SPARK, is_live=facts.record.is_live)


def _metric(facts: RunFacts) -> Line:
    return [(_short(short_metric(facts.metric)), "muted")]


def _best(facts: RunFacts) -> Line:
    best = facts.record.best
    return [(format_metric(best["value"]), "text")] if best else []


def _age(facts: RunFacts) -> Line:
    if facts.record.is_live:
        return [("now", "good")]
    return [(format_age(facts.now - facts.record.created), "muted")]


def _epoch(facts: RunFacts) -> Line:
    record = facts.record
    return [
        (f"{record.epoch:,}", "text"),
        (f"/{record.total_epochs:,}" if record.total_epochs else "", "muted"),
    ]


def _short(text: str) -> str:
    return shorten(printable(text[: 4 * MOST_TEXT]), MOST_TEXT)


COLUMNS = (
    RunColumn("run", "name", 0, _name),
    RunColumn("tags", "tags", 7, lambda facts: [(_short(" ".join(facts.record.tags)), "steer")]),
    RunColumn("status", "status", 1, _status),
    RunColumn("progress", "progress", 5, _bar, width=BAR),
    RunColumn("done", "progress", 4, _percent, right=True, width=4),
    RunColumn("trend", "best", 6, _spark, width=SPARK),
    RunColumn("metric", "best", 8, _metric),
    RunColumn("★ best", "best", 2, _best, right=True),
    RunColumn("age", "age", 3, _age, right=True),
    RunColumn("preset", "preset", 9, lambda facts: [(_short(facts.record.preset), "muted")]),
    RunColumn("epoch", "epoch", 10, _epoch, right=True),
    RunColumn(
        "lr",
        "lr",
        11,
        lambda facts: [("" if facts.record.lr is None else format_number(facts.record.lr), "muted")],
        right=True,
    ),
    RunColumn("host", "host", 12, lambda facts: [(_short(facts.record.host), "muted")]),
)
"""In the order in which they are drawn."""

_BAR, _PERCENT, _SPARK, _METRIC = 3, 4, 5, 6


class RunTable:
    """The runs of a list, measured once; rows are drawn when they are visible."""

    def __init__(self, records: Sequence[RunRecord], now: float, shown: Sequence[str] = ()) -> None:
        """`shown` are the headings of the columns that the user wants; empty: all."""
        self.records = records
        self.now = now
        readable = [RunFacts(record, now) for record in records if record.status not in PROBLEMS]
        self.metrics = sorted({facts.metric for facts in readable if facts.record.best})
        self._natural = [_natural_width(column, readable) for column in COLUMNS]
        names = (cell_len(printable(record.name[: 4 * MOST_NAME])) for record in records)
        self._natural[0] = min(MOST_NAME, max(cell_len(COLUMNS[0].heading), *names)) if records else 0
        if len(self.metrics) < 2:
            self._natural[_METRIC] = 0
        if shown:
            for index, column in enumerate(COLUMNS[1:], start=1):
                if not {column.heading, column.heading.removeprefix("★ "), column.order} & set(shown):
                    self._natural[index] = 0

    def layout(self, width: int) -> list[tuple[int, int]]:
        """Return the index and the width of each column that fits; see `fitting`."""
        return fitting(self._natural, [column.rank for column in COLUMNS], width - MARGIN - 1)

    def heading(self, width: int, order: str) -> Line:
        """Draw the headings; that of the order is brighter."""
        line: Line = [(" " * MARGIN, "text")]
        columns = self.layout(width)
        shown = [index for index, _ in columns]
        for index, room in columns:
            column = COLUMNS[index]
            text = column.heading
            if index == _PERCENT and _BAR in shown:
                continue  # the heading of the bar reaches over it
            if index == _BAR and _PERCENT in shown:
                room += 5
            if index == _SPARK and len(self.metrics) == 1:
                text = short_metric(self.metrics[0])
            gap = " " * gap_before(index) if index else ""
            cell = padded(shorten(printable(text), room), room, column.right)
            line += [(gap, "text"), (cell, "text" if column.order == order else "faint")]
        return crop(line, width)

    def order_at(self, x: int, width: int) -> str | None:
        """Return the order that a click on the heading at column `x` sets; None beside the headings."""
        edge = MARGIN
        for index, room in self.layout(width):
            edge += room + (gap_before(index) if index else 0)
            if x < edge:
                return COLUMNS[index].order if x >= MARGIN else None
        return None

    def row(self, facts: RunFacts, width: int, selected: int | None) -> Line:
        """Draw a run; `selected` is its number among the selected ones, None if it is not."""
        record = facts.record
        sign, tone = status_look(status_word(record))
        mark = ("◉", COMPARED[selected % len(COMPARED)]) if selected is not None else (" ", "text")
        line: Line = [(" ", "text"), mark, (f"{sign} ", tone)]
        columns = self.layout(width)
        if record.status in PROBLEMS:
            named = _problem(record, min(columns[0][1], PROBLEM_NAME), width - MARGIN)
            return crop([*line, *named], width)
        for index, room in columns:
            cell = COLUMNS[index].cells(facts)
            if index == 0:
                cell = [(shorten(cell[0][0], room, "middle"), cell[0][1])]
            else:
                line.append((" " * gap_before(index), "text"))
            blank = (" " * max(0, room - line_width(cell)), "text")
            line += [blank, *cell] if COLUMNS[index].right else [*cell, blank]
        return crop(line, width)


def gap_before(index: int) -> int:
    """Return the blank cells before a column."""
    return 1 if index == _PERCENT else GAP


def fitting(
    natural: Sequence[int], ranks: Sequence[int], width: int, gap: Callable[[int], int] | None = None
) -> list[tuple[int, int]]:
    """Return index and width of the columns that fit into `width` cells, in order.

    Columns with a natural width of 0 are left out. Others are dropped by rank, the highest first, until there
    is room for the first column, which gets what is left, up to its natural width.
    """
    kept = [index for index, cells in enumerate(natural) if cells]

    def rest() -> int:
        return sum(natural[index] + (gap or gap_before)(index) for index in kept if index)

    for cells, rank in NAME_WIDTHS:
        while rest() + min(natural[0], cells) > width and any(ranks[index] >= rank for index in kept):
            kept.remove(max(kept, key=lambda index: ranks[index]))
    name = max(1, min(natural[0], width - rest()))
    return [(index, natural[index] if index else name) for index in kept]


def _natural_width(column: RunColumn, readable: Sequence[RunFacts]) -> int:
    """Return the width of a column; 0 if no run has anything to show in it."""
    if column.width is not None:
        return column.width if readable else 0
    cells = max((line_width(column.cells(facts)) for facts in readable), default=0)
    return max(cells, cell_len(column.heading)) if cells else 0


def _problem(record: RunRecord, name_width: int, width: int) -> Line:
    """Draw what cannot be read: its name, the status and the reason."""
    name = shorten(printable(record.name[:500]), name_width, "middle")
    status = f"{record.status}  "
    start = name_width + GAP
    reason = shorten(problem(record), max(0, width - start - len(status) - 1))
    return [(padded(name, start), "text"), (status, "bad"), (reason, "muted")]
