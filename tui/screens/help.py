"""The help screen, made from a table of actions."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.tui.actions import Action

_KEY_NAMES = {
    "minus": "-",
    "plus": "+",
    "equals_sign": "=",
    "question_mark": "?",
    "slash": "/",
}


class HelpScreen(ModalScreen[None]):
    """Every key and what it does."""

    BINDINGS = [Binding("escape,q,question_mark,enter,ctrl+c", "dismiss", "Close", show=False)]

    def __init__(self, actions: Sequence[Action]) -> None:
        super().__init__()
        self._actions = actions

    def compose(self) -> ComposeResult:
        """A line for each action; it scrolls where the terminal is short."""
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "keys"
            dialog.border_subtitle = "esc closes"
            for action in self._actions:
                yield Static(Content.assemble((f"{_keys(action):<17}", "bold"), action.help))

    def action_leave(self) -> None:
        """Close the help."""
        self.dismiss()


def _keys(action: Action) -> str:
    return " ".join(_KEY_NAMES.get(key, key) for key in action.keys)
