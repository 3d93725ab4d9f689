"""The line in which one types what a pane is searched for. The pane shows the matches meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from torchconsole.tui.user_keys import key_named
from torchconsole.tui.widgets.inputs import SequentialInput

if TYPE_CHECKING:
    from torchconsole.tui.widgets.rows_pane import RowsPane
    from torchconsole.tui.widgets.searched_rows import SearchedRows


class PaneSearchScreen(ModalScreen[None]):
    """Searches while one types. Enter keeps the search, escape ends it."""

    BINDINGS = [Binding("escape,ctrl+c", "cancel", "Cancel", show=False)]

    def __init__(self, pane: RowsPane[Any] | SearchedRows) -> None:
        super().__init__()
        self._pane = pane

    def compose(self) -> ComposeResult:
        """Lay out the line."""
        filters = "".join(f", or {example}" for example in self._pane.FILTER_EXAMPLES)
        keys = " and ".join(key_named(self.app, name) for name in ("next_match", "previous_match"))
        yield SequentialInput(
            self._pane.query_text, placeholder=f"search: words{filters}; {keys} go on", compact=True
        )

    def on_input_changed(self, event: SequentialInput.Changed) -> None:
        """Show what matches so far."""
        self._pane.search(event.value)

    def on_input_submitted(self) -> None:
        """Keep the search."""
        self.dismiss()

    def action_cancel(self) -> None:
        """End the search."""
        self._pane.search("")
        self.dismiss()

    action_leave = action_cancel
