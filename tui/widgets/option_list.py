"""A list with the keys of all lists, vim's among them."""

from __future__ import annotations

from textual.widgets import OptionList

from torchconsole.tui.keys import LISTS, bindings


class KeyedOptionList(OptionList):
    """Textual's list, which also moves its highlight by half of what is shown."""

    BINDINGS = bindings(LISTS)

    action_list_down = OptionList.action_cursor_down
    action_list_up = OptionList.action_cursor_up
    action_list_first = OptionList.action_first
    action_list_last = OptionList.action_last

    def action_list_half_down(self) -> None:
        """Move the highlight down by half of what is shown, at most to the last row."""
        self._move(max(1, self.size.height // 2))

    def action_list_half_up(self) -> None:
        """Move the highlight up by half of what is shown, at most to the first row."""
        self._move(-max(1, self.size.height // 2))

    def _move(self, rows: int) -> None:
        """Move the highlight by about this many rows: a row that is disabled cannot be highlighted."""
        if self.highlighted is None:
            self.action_first()
            return
        wanted = max(0, min(self.highlighted + rows, self.option_count - 1))
        step = 1 if rows > 0 else -1
        while wanted != self.highlighted and self.get_option_at_index(wanted).disabled:
            wanted -= step
        self.highlighted = wanted
