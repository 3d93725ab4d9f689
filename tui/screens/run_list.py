"""The menu's list of runs: filtered, sorted by any column, some of them selected."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from torchconsole.engine.text import printable
from torchconsole.tui.run_filter import matching, split_words
from torchconsole.tui.run_listing import ORDERS, ordered
from torchconsole.tui.run_rows import RunFacts, RunTable
from torchconsole.tui.table import shorten
from torchconsole.tui.user_keys import key_hints, key_named
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.list_pane import ListPane

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord

DIRECTIONS = {
    "age": ("newest first", "oldest first"),
    "best": ("best first", "worst first"),
    "progress": ("most progress first", "least progress first"),
}
"""Order -> how it is called, and how its reverse."""


class RunList(ListPane):
    """One run per line, below a line with the headings, which sort."""

    @dataclass
    class OrderChanged(Message):
        """The runs are sorted in another way."""

        order: str
        is_reversed: bool

    def __init__(self) -> None:
        super().__init__()
        self.query_text = ""
        self.order = "age"
        self.is_reversed = False
        self.columns: Sequence[str] = ()
        """Headings of the columns to show; empty: as many as fit."""
        self.selected: list[str] = []
        """Folders of the selected runs, in the order in which they were selected."""
        self._renamed = ""
        """Folder of the highlighted run, if it was just renamed to this."""
        self.awaited: RunRecord | None = None
        """A run that the next listing highlights, if it has it."""
        self._message = "reading the runs..."
        self._all_runs: Sequence[RunRecord] = []
        self._table = RunTable([], 0.0)
        self._trails: Mapping[str, Sequence[float]] = {}

    @property
    def highlighted_run(self) -> RunRecord | None:
        """The highlighted run; None without one."""
        runs = self._table.records
        return runs[self.highlighted] if self.highlighted < len(runs) else None

    @property
    def all_runs(self) -> Sequence[RunRecord]:
        """The runs, also those that the filter hides."""
        return self._all_runs

    def text_to_copy(self) -> str:
        """Return the folder of the highlighted run."""
        return self.highlighted_run.folder if self.highlighted_run else ""

    @property
    def selected_runs(self) -> list[RunRecord]:
        """The selected runs that still exist, in the order in which they were selected."""
        by_folder = {run.folder: run for run in self._all_runs}
        return [by_folder[folder] for folder in self.selected if folder in by_folder]

    @property
    def visible_runs(self) -> Sequence[RunRecord]:
        """The runs that are on the screen, or are about to be."""
        shown = self._visible()
        return self._table.records[shown.start : shown.stop]

    def search(self, query: str) -> None:
        """List only the runs that meet the filter."""
        self.query_text = query
        self.show(self._all_runs)

    def change_order(self) -> None:
        """Sort the runs by the next of ORDERS."""
        orders = list(ORDERS)
        self.sort_by(orders[(orders.index(self.order) + 1) % len(orders)], is_reversed=False)

    def reverse_order(self) -> None:
        """Reverse the order."""
        self.sort_by(self.order, is_reversed=not self.is_reversed)

    def sort_by(self, order: str, *, is_reversed: bool) -> None:
        """Sort by one of ORDERS."""
        self.order, self.is_reversed = order, is_reversed
        self.show(self._all_runs)
        self.post_message(self.OrderChanged(order, is_reversed))

    def on_heading_click(self, x: int, width: int) -> None:
        """Sort by the column under the pointer; again reverses."""
        if order := self._table.order_at(x, width):
            self.sort_by(order, is_reversed=order == self.order and not self.is_reversed)

    def toggle_selected(self) -> None:
        """Select the highlighted run, or end that."""
        if run := self.highlighted_run:
            if run.folder in self.selected:
                self.selected.remove(run.folder)
            else:
                self.selected.append(run.folder)
            self.redraw()

    def extend_selected(self, by: int) -> None:
        """Select the highlighted run and the next one, or with `by` -1 the one before, and go there."""
        before = self.highlighted_run
        self.step(by)
        for run in (before, self.highlighted_run):
            if run and run.folder not in self.selected:
                self.selected.append(run.folder)
        self.redraw()

    def forget(self, folder: str) -> None:
        """Note that a run was deleted: another one may get its folder."""
        if folder in self.selected:
            self.selected.remove(folder)

    def clear_selected(self) -> None:
        """Select no run."""
        self.selected.clear()
        self.redraw()

    def take(self, all_runs: Sequence[RunRecord]) -> None:
        """Note what is known of the runs, without showing it."""
        self._all_runs = all_runs

    def show(self, all_runs: Sequence[RunRecord]) -> None:
        """List these runs. The highlighted run stays highlighted, wherever it is now."""
        before = self.highlighted_run
        self._all_runs = all_runs
        self._message = ""
        runs = ordered(
            matching(all_runs, split_words(self.query_text)), self.order, is_reversed=self.is_reversed
        )
        self._table = RunTable(runs, time.time(), self.columns)
        folders = [run.folder for run in runs]
        awaited, self.awaited = self.awaited, None
        if awaited and awaited.folder in folders:
            self.highlighted = folders.index(awaited.folder)
        elif self._renamed in folders:
            self.highlighted, self._renamed = folders.index(self._renamed), ""
        elif before and before.folder in folders:
            self.highlighted = folders.index(before.folder)
        elif before is None:
            self.highlighted = 0
        self.highlight(self.highlighted)

    def go_to(self, run: RunRecord) -> None:
        """Highlight a run, as soon as it is listed."""
        folders = [each.folder for each in self._table.records]
        if run.folder in folders:
            self.highlight(folders.index(run.folder))
        else:
            self.awaited = run

    def follow_rename(self, folder: str, renamed: str) -> None:
        """Keep the highlighted run, which was renamed, highlighted and selected.

        A listing that was read meanwhile may lack it under both names.
        """
        self._renamed = renamed
        self.selected = [renamed if each == folder else each for each in self.selected]
        for run in self._table.records:
            if run.folder == folder:
                run.folder = renamed

    def show_trails(self, trails: Mapping[str, Sequence[float]]) -> None:
        """Show the course of the monitored metric, by folder."""
        if trails != self._trails:
            self._trails = dict(trails)
            self.redraw()

    @property
    def has_trails(self) -> bool:
        """Whether the courses of the metrics have been read."""
        return bool(self._trails)

    def show_message(self, text: str) -> None:
        """Show a message instead of runs."""
        self._table = RunTable([], 0.0)
        self._message = printable(text)
        self.highlight(0)

    def count(self) -> int:
        """See ListPane."""
        return len(self._table.records)

    def title(self) -> Line:
        """The number of runs, and of those that are selected."""
        of = f" of {len(self._all_runs)}" if self.query_text else ""
        title: Line = [("runs ", "bold strong"), (f"{self.count()}{of}", "muted")]
        if chosen := len(self.selected_runs):
            title += [(f"  ◉ {chosen} selected", "text")]
        return title

    def remark(self) -> Line:
        """The filter, if there is one, and the order."""
        names = DIRECTIONS.get(self.order, (f"by {self.order}", f"by {self.order}, reversed"))
        shown = key_hints(self.app, "bold strong", order=names[self.is_reversed])
        if self.query_text:
            return [(shorten(printable(self.query_text), 40), "text"), (" · ", "rule"), *shown]
        return shown

    def heading(self, width: int) -> list[Line]:
        """The names of the columns."""
        return [self._table.heading(width, self.order)]

    def empty(self) -> str:
        """See ListPane."""
        if self._message:
            return f"  {self._message}"
        if self._all_runs:
            return f"  no run matches; {key_named(self.app, 'clear_search')} clears the filter"
        return f"  none yet; press {key_named(self.app, 'choose')} on a preset to start a run"

    def row(self, row: int, width: int) -> Line:
        """Draw a run."""
        run = self._table.records[row]
        chosen = self.selected.index(run.folder) if run.folder in self.selected else None
        return self._table.row(RunFacts(run, self._table.now, self._trails.get(run.folder)), width, chosen)
