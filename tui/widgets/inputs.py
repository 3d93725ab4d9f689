"""Input lines that handle their keys in the order in which they were typed."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding
from textual.events import Key
from textual.message import Message
from textual.widgets import Input

from torchconsole.tui.run_filter import FILTER_EXAMPLES

_EDITING_ACTIONS = {
    key: binding.action
    for binding in Input.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}


class SequentialInput(Input):
    """An input that edits and submits in order.

    Textual sends keys that edit or submit up to the app, where letters typed after them overtake them.
    """

    async def on_key(self, event: Key) -> None:
        """Edit or submit right here, where letters are handled too."""
        if action := _EDITING_ACTIONS.get(event.key):
            event.stop()
            event.prevent_default()
            await self.run_action(action)


class SearchLine(SequentialInput):
    """The menu's search line: filters the list below it, while the arrow keys move in that list."""

    DEFAULT_CSS = """
    SearchLine, SearchLine:focus { height: 1; border: none; padding: 0 1; background: $tone-surface; }
    """

    @dataclass
    class Moved(Message):
        """The user moved the highlight in the list; `step` is 1 for down, -1 for up."""

        step: int

    def __init__(self, *, of_runs: bool = False) -> None:
        example = FILTER_EXAMPLES if of_runs else "search names, titles and descriptions"
        super().__init__(placeholder=example, compact=True)

    async def on_key(self, event: Key) -> None:
        """Pass the arrow keys on as messages."""
        if event.key in ("up", "down"):
            event.stop()
            event.prevent_default()
            self.post_message(self.Moved(1 if event.key == "down" else -1))
