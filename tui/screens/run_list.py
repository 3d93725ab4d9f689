"""The menu's list of runs: searched, sorted, with pulsing live runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from torchconsole.engine.text import printable
from torchconsole.tui.run_listing import ORDERS, matching, menu_lines, ordered

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord

STATUS_STYLES = {
    "running": "$text-success",
    "finished": "$text-muted",
    "stopped": "$text-muted",
    "failed": "$text-error",
    "lost": "$text-error",
    "interrupted": "$text-error",
    "unreadable": "$text-error",
}
"""All other statuses are transient and have the color of a warning."""

PULSE_SECONDS = 0.7


class RunList(OptionList):
    """One run per line, below a line with the column headings, which cannot be highlighted."""

    BORDER_TITLE = " runs "

    def __init__(self) -> None:
        super().__init__()
        self._all_runs: Sequence[RunRecord] = []
        self._listed_runs: Sequence[RunRecord] = []
        self._table: list[list[str]] = []
        self._words: list[str] = []
        self._order = "age"
        self._is_dim = False

    def on_mount(self) -> None:
        """Start the pulse of the live runs."""
        self.set_interval(PULSE_SECONDS, self._pulse)

    @property
    def highlighted_run(self) -> RunRecord | None:
        """The highlighted run; None without one."""
        return self._listed_runs[self.highlighted - 1] if self._listed_runs and self.highlighted else None

    def search(self, query: str) -> None:
        """List only the runs that match every word of the query."""
        self._words = query.split()
        self.show(self._all_runs)

    def change_order(self) -> None:
        """Sort the runs by the next of ORDERS."""
        orders = list(ORDERS)
        self._order = orders[(orders.index(self._order) + 1) % len(orders)]
        self.border_title = f" runs by {self._order} "
        self.show(self._all_runs)

    def show(self, all_runs: Sequence[RunRecord]) -> None:
        """List these runs. The highlighted run stays highlighted, wherever it is now."""
        self._all_runs = all_runs
        runs = ordered(matching(all_runs, self._words), self._order)
        if not runs:
            self.show_message("no run matches" if all_runs else "none yet; press enter to start a preset")
            return
        highlighted = self.highlighted_run.folder if self.highlighted_run else None
        self._listed_runs = runs
        table = menu_lines(runs, time.time())
        if table != self._table:
            self._table = table
            folders = [run.folder for run in runs]
            with self.app.batch_update():
                self.set_options(
                    [_message("  ".join(table[0])), *(Option(_line(cells)) for cells in table[1:])]
                )
                self.highlighted = 1 + (folders.index(highlighted) if highlighted in folders else 0)

    def show_message(self, text: str) -> None:
        """Show a message instead of runs."""
        self._listed_runs = []
        if self._table != [[text]]:
            self._table = [[text]]
            self.set_options([_message(printable(text))])

    def _pulse(self) -> None:
        self._is_dim = not self._is_dim
        for index, (run, cells) in enumerate(zip(self._listed_runs, self._table[1:], strict=False), 1):
            if run.is_live:
                self.replace_option_prompt_at_index(index, _line(cells, self._is_dim))


def _message(text: str) -> Option:
    return Option(Content.styled(text, "dim"), disabled=True)


def _line(cells: Sequence[str], is_dim: bool = False) -> Content:
    status, *rest = cells
    style = STATUS_STYLES.get(status.strip(), "$text-warning")
    return Content.assemble((status, f"dim {style}" if is_dim else style), "  ", "  ".join(rest))
