"""The menu's list of runs: what is trained, and what was. Filtered, put in order, and live ones pulse."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from torchconsole.engine.text import printable
from torchconsole.tui.run_listing import HEADINGS, NUMBERS, ORDERS, matching, ordered, run_cells
from torchconsole.tui.table import align

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord

STATUS_STYLES = {
    "running": "$text-success",
    "finished": "$text-muted",
    "stopped": "$text-muted",
    "failed": "$text-error",
    "lost": "$text-error",
    "interrupted": "$text-error",
}
"""The statuses that come and go in between are all a warning's colour."""


PULSE_SECONDS = 0.7


class RunList(OptionList):
    """Every run on a line; its first line, which cannot be chosen, names the columns."""

    BORDER_TITLE = " runs "

    def __init__(self) -> None:
        super().__init__()
        self._every: Sequence[RunRecord] = []
        self._runs: Sequence[RunRecord] = []
        self._table: list[list[str]] = []
        self._words: list[str] = []
        self._order = "age"
        self._is_dim = False

    def on_mount(self) -> None:
        """Live runs pulse from now on."""
        self.set_interval(PULSE_SECONDS, self._pulse)

    @property
    def chosen(self) -> RunRecord | None:
        """The highlighted run."""
        return self._runs[self.highlighted - 1] if self._runs and self.highlighted else None

    def search(self, query: str) -> None:
        """List only the runs in which each word of the query occurs."""
        self._words = query.split()
        self.show(self._every)

    def change_order(self) -> None:
        """List the runs in the next of the orders."""
        orders = list(ORDERS)
        self._order = orders[(orders.index(self._order) + 1) % len(orders)]
        self.border_title = f" runs by {self._order} "
        self.show(self._every)

    def show(self, every: Sequence[RunRecord]) -> None:
        """List these runs; the one that was highlighted stays so, wherever it is now."""
        self._every = every
        runs = ordered(matching(every, self._words), self._order)
        if not runs:
            self.tell("none matches" if every else "none yet: enter starts the preset chosen above")
            return
        before = self.chosen.folder if self.chosen else None
        self._runs = runs
        now = time.time()
        table = align([HEADINGS[:-1], *(run_cells(run, now)[:-1] for run in runs)], right=NUMBERS)
        if table != self._table:
            self._table = table
            folders = [run.folder for run in runs]
            with self.app.batch_update():
                self.set_options(
                    [_remark("  ".join(table[0])), *(Option(_line(cells)) for cells in table[1:])]
                )
                self.highlighted = 1 + (folders.index(before) if before in folders else 0)

    def tell(self, text: str) -> None:
        """Show a remark in the place of runs."""
        self._runs = []
        if self._table != [[text]]:
            self._table = [[text]]
            self.set_options([_remark(printable(text))])

    def _pulse(self) -> None:
        self._is_dim = not self._is_dim
        for index, (run, cells) in enumerate(zip(self._runs, self._table[1:], strict=False), 1):
            if run.is_live:
                self.replace_option_prompt_at_index(index, _line(cells, self._is_dim))


def _remark(text: str) -> Option:
    return Option(Content.styled(text, "dim"), disabled=True)


def _line(cells: Sequence[str], is_dim: bool = False) -> Content:
    status, *rest = cells
    style = STATUS_STYLES.get(status.strip(), "$text-warning")
    return Content.assemble((status, f"dim {style}" if is_dim else style), "  ", "  ".join(rest))
