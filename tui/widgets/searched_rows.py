"""Keys of a list whose rows a widget draws itself: moving the highlight, and searching the rows for words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torchconsole.tui.pane_search import marked
from torchconsole.tui.user_keys import key_named
from torchconsole.tui.widgets.lines import Line, LineWidget


class SearchedRows(LineWidget):
    """Subclasses say how many rows there are, and which text of each is searched."""

    FILTER_EXAMPLES: ClassVar[Sequence[str]] = ()

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.row = 0
        """The highlighted row."""
        self.query_text = ""
        self._page = 1

    @property
    def count(self) -> int:
        """The number of rows."""
        raise NotImplementedError

    def row_texts(self) -> Sequence[str]:
        """Return what is searched in each row."""
        raise NotImplementedError

    def search(self, text: str) -> None:
        """Mark what `text` asks for and go to the next match; an empty text ends the search."""
        self.query_text = text
        self._go_to_match(self.row, 1)
        self.redraw()

    def action_search(self) -> None:
        """Ask what to search."""
        from torchconsole.tui.screens.pane_search import PaneSearchScreen

        if self.count:
            self.app.push_screen(PaneSearchScreen(self))

    def action_next_match(self) -> None:
        """Go to the next row that matches."""
        self._go_to_match(self.row + 1, 1)

    def action_previous_match(self) -> None:
        """Go to the row before that matches."""
        self._go_to_match(self.row - 1, -1)

    @property
    def _words(self) -> str:
        return " ".join(self.query_text.split()).casefold()

    def _matches(self) -> list[int]:
        words = self._words
        return [row for row, text in enumerate(self.row_texts()) if words and words in text.casefold()]

    def _go_to_match(self, start: int, step: int) -> None:
        """Go to the first match from `start` on, in one direction, and around the ends."""
        if found := self._matches():
            ahead = [row for row in found[::step] if (row - start) * step >= 0]
            self.go((ahead or found[::step])[0])

    def search_remark(self) -> Line:
        """Return what is searched for and how often it is there; empty without a search."""
        if not self._words:
            return []
        found = self._matches()
        at = f"{found.index(self.row) + 1} of " if self.row in found else ""
        keys = f"{key_named(self.app, 'next_match')} {key_named(self.app, 'previous_match')}"
        return [
            ("/", "faint"),
            (self.query_text, "attn"),
            (f"  {at}{len(found):,}  ", "faint"),
            (keys, "muted"),
        ]

    def mark(self, line: Line) -> Line:
        """Return a line with what was searched marked."""
        return marked(line, self._words) if self._words else line

    def go(self, row: int) -> None:
        """Highlight a row, or the nearest one that there is."""
        self.row = max(0, min(row, self.count - 1))
        self.redraw()

    def action_list_down(self) -> None:
        """Go to the next row."""
        self.go(self.row + 1)

    def action_list_up(self) -> None:
        """Go to the row before."""
        self.go(self.row - 1)

    def action_list_first(self) -> None:
        """Go to the first row."""
        self.go(0)

    def action_list_last(self) -> None:
        """Go to the last row."""
        self.go(self.count - 1)

    def action_list_half_down(self) -> None:
        """Go down by half of what is shown."""
        self.go(self.row + max(1, self._page // 2))

    def action_list_half_up(self) -> None:
        """Go up by half of what is shown."""
        self.go(self.row - max(1, self._page // 2))

    def action_page_down(self) -> None:
        """Go down by what is shown."""
        self.go(self.row + self._page)

    def action_page_up(self) -> None:
        """Go up by what is shown."""
        self.go(self.row - self._page)
