"""The menu's search line."""

from __future__ import annotations

from dataclasses import dataclass

from textual.events import Key
from textual.message import Message

from torchconsole.tui.widgets.sequential_input import SequentialInput


class SearchLine(SequentialInput):
    """What is typed here filters the list below; the arrow keys move in that list meanwhile."""

    DEFAULT_CSS = """
    SearchLine, SearchLine:focus { height: 1; border: none; padding: 0 1; background: $panel; }
    """

    @dataclass
    class Moved(Message):
        """The user looks at another line of the list; `step` is 1 for the next, -1 for the one before."""

        step: int

    def __init__(self) -> None:
        super().__init__(placeholder="words of a name, title or description", compact=True)

    async def on_key(self, event: Key) -> None:
        """Pass the arrow keys on."""
        if event.key in ("up", "down"):
            event.stop()
            event.prevent_default()
            self.post_message(self.Moved(1 if event.key == "down" else -1))
