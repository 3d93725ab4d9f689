"""A question over the screen, answered by a key, by the arrow keys and enter, or by the mouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option


@dataclass(frozen=True)
class Choice:
    """One answer and the keys that give it."""

    keys: tuple[str, ...]
    id: str
    label: str


class ChoiceScreen(ModalScreen[str | None]):
    """Ends with the id of the answer, or with None where the user cancels, as `escape` always does.

    The keys that leave the console, ctrl+c and ctrl+q, cancel too, unless they are an answer's.
    """

    BINDINGS = [Binding("escape", "cancel", "Cancel", show=False)]

    def __init__(self, question: str, remark: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._question = question
        self._remark = remark
        self._choices = choices

    def compose(self) -> ComposeResult:
        """The question, what it means, the answers."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "enter takes the marked answer"
            yield Static(self._question, markup=False, classes="question")
            yield Static(self._remark, markup=False, classes="remark")
            yield OptionList(
                *(Option(_prompt(choice.keys, choice.label), id=choice.id) for choice in self._choices),
                Option(_prompt(("esc",), "cancel"), id="cancel"),
            )

    def on_key(self, event: Key) -> None:
        """An answer's key."""
        if answer := self._answer(event.key):
            event.stop()
            self.dismiss(answer)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter, or a click."""
        self.dismiss(None if event.option_id == "cancel" else event.option_id)

    def action_cancel(self) -> None:
        """Leave everything as it is."""
        self.dismiss(None)

    def action_leave(self) -> None:
        """Give the answer whose key ctrl+c is."""
        self.dismiss(self._answer("ctrl+c"))

    def _answer(self, key: str) -> str | None:
        return next((choice.id for choice in self._choices if key in choice.keys), None)


def _prompt(keys: Sequence[str], label: str) -> Content:
    return Content.assemble((f"{', '.join(keys):>9}", "bold"), f"  {label}")
