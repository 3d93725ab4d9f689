"""Makes a finder's search in a process with torch, and shows its chart; enter applies the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.text import printable, printable_lines
from torchconsole.tui.finder_charts import draw_search
from torchconsole.tui.finder_texts import describe_search
from torchconsole.tui.finders import Finder
from torchconsole.tui.formatting import format_phase, format_progress
from torchconsole.tui.widgets.chart import plot_style
from torchconsole.tui.widgets.lines import Line, LineWidget, wrap

if TYPE_CHECKING:
    from torchconsole.engine.protocol.finder_reports import Search

MakeSearch = Callable[[ReportPhase], Awaitable["Search"]]
"""Makes a search, with its progress. Raises TorchconsoleError, OSError."""

LEAST_CHART, MOST_CHART = 5, 18
"""Rows of the chart; it is left out if there is room for fewer."""

SUGGESTED = "suggested"
"""How the line that matters most begins."""


class FinderScreen(ModalScreen["Search | None"]):
    """Returns the search whose answer is to be applied, or None. Closing the dialog ends the process."""

    BINDINGS = [
        Binding("escape,ctrl+c", "leave", "Cancel", show=False),
        Binding("enter", "take_over", "Apply the answer", show=False),
    ]

    def __init__(self, finder: Finder, make: MakeSearch) -> None:
        super().__init__()
        self._finder = finder
        self._make = make
        self._found: Search | None = None
        self._pane = SearchPane()

    def compose(self) -> ComposeResult:
        """Lay out the title, and the progress or the result."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "esc cancels"
            yield Static(self._finder.title, markup=False, classes="question")
            yield self._pane

    def on_mount(self) -> None:
        """Begin to search."""
        self._search()

    @work(exclusive=True, group="search")
    async def _search(self) -> None:
        """Search, which is ended with this screen."""
        dialog = self.query_one(".dialog", Vertical)
        try:
            self._found = await self._make(self._pane.show_phase)
        except (TorchconsoleError, OSError) as error:
            self._pane.explain(str(error))
            dialog.border_subtitle = "esc closes"
            return
        self._pane.show(self._found)
        dialog.border_subtitle = f"{'enter applies it · ' if self._found.settings else ''}esc closes"

    def action_take_over(self) -> None:
        """Close the dialog with the answer, if there is one."""
        if self._found is not None and self._found.settings:
            self.dismiss(self._found)

    def action_leave(self) -> None:
        """Close the dialog without an answer."""
        self.dismiss(None)


class SearchPane(LineWidget):
    """Shows how far a search is, what it has found, or why it failed."""

    def __init__(self) -> None:
        super().__init__(id="search")
        self._phase: PhaseChanged | None = None
        self._found: Search | None = None
        self._problem = ""

    def show_phase(self, phase: PhaseChanged) -> None:
        """Show the progress of a search."""
        self._phase = phase
        self.redraw()

    def show(self, found: Search) -> None:
        """Show the result."""
        self._found = found
        self.redraw()

    def explain(self, problem: str) -> None:
        """Show why there is no result."""
        self._problem = problem
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the chart, and below it what it says; the last line tells if more lines do not fit."""
        lines = self._content(width, height)
        if len(lines) <= height:
            return lines
        hidden = len(lines) - height + 1
        return [*lines[: height - 1], [(f"… {hidden} more: enlarge the terminal", "faint")]]

    def _content(self, width: int, height: int) -> list[Line]:
        if self._problem:
            lines = printable_lines(self._problem).splitlines()
            return [[(piece, "bad")] for line in lines for piece in wrap(line, width)]
        if self._found is None:
            return [[(piece, "muted")] for piece in wrap(self._progress(), width)]
        texts: list[Line] = [
            [(piece, "bold strong" if line.startswith(SUGGESTED) else "muted")]
            # In a low terminal, the answer comes first.
            for line in sorted(describe_search(self._found), key=lambda line: not line.startswith(SUGGESTED))
            for piece in wrap(printable(line), width)
        ]
        rows = min(MOST_CHART, height - len(texts) - 1)
        if rows < LEAST_CHART:
            return texts
        return [*draw_search(self._found, width, rows, plot_style(self)), [], *texts]

    def _progress(self) -> str:
        if self._phase is None:
            return "loading the data and building the model..."
        return printable(": ".join(filter(None, (format_phase(self._phase), format_progress(self._phase)))))
