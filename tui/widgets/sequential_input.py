"""An input line that takes its keys in the order in which they were typed."""

from __future__ import annotations

from textual.binding import Binding
from textual.events import Key
from textual.widgets import Input

_EDITING = {
    key: binding.action
    for binding in Input.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}


class SequentialInput(Input):
    """Textual lets keys that edit or submit travel up to the app, and letters behind overtake them there."""

    async def on_key(self, event: Key) -> None:
        """Edit or submit right here, where letters are taken in too."""
        if action := _EDITING.get(event.key):
            event.stop()
            event.prevent_default()
            await self.run_action(action)
