"""The lists of the screen that compares runs: the runs with their values, and the settings."""

from __future__ import annotations

from dataclasses import dataclass

from textual.events import Click
from textual.message import Message

from torchconsole.tui.compare_lines import draw_runs, draw_settings
from torchconsole.tui.compare_view import CompareView
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.list_pane import ListPane


class _DrawnList(ListPane):
    """A list that is drawn as a whole: its first line is the heading."""

    def __init__(self, view: CompareView) -> None:
        super().__init__()
        self._view = view

    def _draw(self, width: int) -> list[Line]:
        """Return all lines; the view has runs."""
        raise NotImplementedError

    def drawn(self, width: int = 0) -> list[Line]:
        """Return all lines, for the present width unless another is given; none without runs."""
        return self._draw(width or self.size.width or 80) if self._view.comparison.runs else []

    def count(self) -> int:
        """See ListPane."""
        return max(0, len(self.drawn()) - 1)

    def heading(self, width: int) -> list[Line]:
        """The names of the columns."""
        return self.drawn(width)[:1]

    def row(self, row: int, width: int) -> Line:
        """Draw a row."""
        lines = self.drawn(width)
        return lines[row + 1] if row + 1 < len(lines) else []


class CompareRuns(_DrawnList):
    """A row for each run, and below them one for each group of runs that differ in the seed alone."""

    @dataclass
    class Toggled(Message):
        """The user shows or hides a run."""

        index: int

    @property
    def needed(self) -> int:
        """The rows that are needed."""
        groups = self._view.comparison.groups if self._view.is_grouped else []
        return 1 + len(self._view.comparison.runs) + len(groups)

    def can_highlight(self, row: int) -> bool:
        """See ListPane."""
        return row < len(self._view.comparison.runs)

    def title(self) -> Line:
        """How many of the runs have room."""
        runs = len(self._view.comparison.runs)
        title: Line = [("runs", "bold strong")]
        return [*title, (f" {self._page} of {runs}", "muted")] if self._page < runs else title

    def remark(self) -> Line:
        """The key that shows or hides a run."""
        return key_hints(self.app, "bold strong", compare_select="show/hide", next="settings")

    def on_click(self, event: Click) -> None:
        """Show or hide the run under the pointer."""
        before = self.highlighted
        self.highlighted = -1
        super().on_click(event)
        if self.highlighted < 0:
            self.highlighted = before
        else:
            self.post_message(self.Toggled(self.highlighted))

    def _draw(self, width: int) -> list[Line]:
        return draw_runs(self._view, width)


class CompareSettings(_DrawnList):
    """The settings, which scroll; the first line, with the names of the runs, stays."""

    @property
    def needed(self) -> int:
        """The rows that are needed."""
        return len(self.drawn())

    def title(self) -> Line:
        """How many settings differ."""
        comparison = self._view.comparison
        total = len({key for run in comparison.runs for key in run.settings})
        shown = "all settings" if self._view.all_settings else "settings that differ"
        return [(f"{shown} ", "bold strong"), (f"{len(comparison.differing)} of {total}", "muted")]

    def remark(self) -> Line:
        """The key that shows all settings."""
        wanted = "only what differs" if self._view.all_settings else "show all"
        return key_hints(self.app, "bold strong", compare_settings=wanted)

    def empty(self) -> str:
        """See ListPane."""
        lines = self.drawn()
        return "".join(text for text, _ in lines[0]) if lines else ""

    def _draw(self, width: int) -> list[Line]:
        return draw_settings(self._view, width)
