"""The dialog with everything about a preset or a run, which scrolls."""

from __future__ import annotations

from collections.abc import Callable

from textual.binding import Binding
from textual.screen import ModalScreen

from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines


class AboutScreen(ModalScreen[None]):
    """Shows lines that depend on the width."""

    BINDINGS = [Binding("escape,q,i,enter,ctrl+c", "dismiss", "Close", show=False)]

    def __init__(self, lines: Callable[[int], list[Line]]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> list[ScrolledLines]:
        """Lay out the lines."""
        return [AboutLines(self._lines)]

    def action_leave(self) -> None:
        """Close the dialog."""
        self.dismiss()


class AboutLines(ScrolledLines):
    """The lines."""

    BORDER_SUBTITLE = "arrows scroll · esc closes"

    def __init__(self, lines: Callable[[int], list[Line]]) -> None:
        super().__init__(id="about")
        self._make = lines

    def on_mount(self) -> None:
        """Take the focus, so that the arrow keys scroll at once."""
        self.focus()

    def source(self) -> object:
        """The lines never change."""
        return self._make

    def body(self, width: int) -> list[Line]:
        """Return the lines."""
        return self._make(width)
