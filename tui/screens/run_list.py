"""The menu's list of runs: what is trained, and what was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from torchconsole.tui.printable import printable
from torchconsole.tui.run_text import HEADINGS, NUMBERS, run_cells
from torchconsole.tui.table import align

if TYPE_CHECKING:
    from torchconsole.engine.runtime.run_folder import RunRecord

STATUS_STYLES = {
    "running": "$text-success",
    "finished": "$text-muted",
    "stopped": "$text-muted",
    "failed": "$text-error",
    "lost": "$text-error",
}
"""The statuses that come and go in between are all a warning's colour."""


class RunList(OptionList):
    """Every run on a line; its first line, which cannot be chosen, names the columns."""

    BORDER_TITLE = " runs "

    def __init__(self) -> None:
        super().__init__()
        self._runs: Sequence[RunRecord] = []
        self._table: list[list[str]] = []

    @property
    def chosen(self) -> RunRecord | None:
        """The highlighted run."""
        return self._runs[self.highlighted - 1] if self._runs and self.highlighted else None

    def show(self, runs: Sequence[RunRecord]) -> None:
        """List these runs; the one that was highlighted stays so, wherever it is now."""
        if not runs:
            self.tell("none yet: enter starts the preset chosen above")
            return
        before = self.chosen.folder if self.chosen else None
        self._runs = runs
        now = time.time()
        table = align([HEADINGS[:-1], *(run_cells(run, now)[:-1] for run in runs)], right=NUMBERS)
        if table != self._table:
            self._table = table
            folders = [run.folder for run in runs]
            with self.app.batch_update():
                self.set_options([_remark("  ".join(table[0])), *map(_option, table[1:])])
                self.highlighted = 1 + (folders.index(before) if before in folders else 0)

    def tell(self, text: str) -> None:
        """Show a remark in the place of runs."""
        self._runs = []
        if self._table != [[text]]:
            self._table = [[text]]
            self.set_options([_remark(printable(text))])


def _remark(text: str) -> Option:
    return Option(Content.styled(text, "dim"), disabled=True)


def _option(cells: Sequence[str]) -> Option:
    status, *rest = cells
    style = STATUS_STYLES.get(status.strip(), "$text-warning")
    return Option(Content.assemble((status, style), "  ", "  ".join(rest)))
