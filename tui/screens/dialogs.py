"""Dialogs over a screen: multiple-choice questions and the help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from torchconsole.engine.text import printable
from torchconsole.tui.actions import Action

MOST_FINDINGS = 3
"""Findings that a dialog has room for in a terminal of 24 lines."""


@dataclass(frozen=True)
class Choice:
    """An answer, and the keys that choose it. The first key is shown."""

    keys: tuple[str, ...]
    id: str
    label: str


class ChoiceScreen(ModalScreen[str | None]):
    """A question, answered by a key, by the arrow keys and enter, or by the mouse.

    Returns the id of the choice, or None if the user cancels. `escape` always cancels; ctrl+c and ctrl+q,
    which leave the console elsewhere, also do, unless ctrl+c is a key of a choice.
    """

    BINDINGS = [Binding("escape", "cancel", "Cancel", show=False)]

    def __init__(self, question: str, explanation: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._question = question
        self._explanation = explanation
        self._choices = choices

    def compose(self) -> ComposeResult:
        """Lay out the question, the explanation and the choices."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "arrows and enter choose"
            yield Static(self._question, markup=False, classes="question")
            yield Static(self._explanation, markup=False, classes="remark")
            yield OptionList(
                *(Option(_prompt(choice.keys, choice.label), id=choice.id) for choice in self._choices),
                Option(_prompt(("esc",), "cancel"), id="cancel"),
            )

    def on_key(self, event: Key) -> None:
        """Choose the answer that the key stands for."""
        if choice := self._choice_for(event.key):
            event.stop()
            self.dismiss(choice)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Choose the highlighted answer on enter or on a click."""
        self.dismiss(None if event.option_id == "cancel" else event.option_id)

    def action_cancel(self) -> None:
        """Close the dialog without an answer."""
        self.dismiss(None)

    def action_leave(self) -> None:
        """Choose the answer that has ctrl+c as a key, or cancel."""
        self.dismiss(self._choice_for("ctrl+c"))

    def _choice_for(self, key: str) -> str | None:
        return next((choice.id for choice in self._choices if key in choice.keys), None)


def _prompt(keys: Sequence[str], label: str) -> Content:
    return Content.assemble((f"{', '.join(keys):>9}", "bold"), f"  {label}")


class StopScreen(ChoiceScreen):
    """Asks before a run is stopped. Returns `stop` or None."""

    def __init__(self, run_name: str) -> None:
        super().__init__(
            f"Stop {printable(run_name)}?",
            "It stops after the current step and saves a checkpoint. You can resume it later.",
            [Choice(("y",), "stop", "stop after this step and save")],
        )


class LeaveScreen(ChoiceScreen):
    """Asks what to do with a live run when the user leaves its screen. Returns an action or None.

    The actions are `detach` and `stop-and-leave`.
    """

    def __init__(self, run_name: str) -> None:
        super().__init__(
            f"Leave {printable(run_name)}?",
            "If you detach, it keeps running and you can attach again at any time.",
            [
                Choice(("d", "ctrl+c"), "detach", "detach and keep the run running"),
                Choice(("x",), "stop-and-leave", "stop after this step and save, then leave"),
            ],
        )


class StartAnywayScreen(ChoiceScreen):
    """Shows the findings that refused a start. Returns `start` or None."""

    def __init__(self, run_name: str, findings: str) -> None:
        lines = [printable(line) for line in findings.splitlines()]
        more = len(lines) - MOST_FINDINGS
        if more > 0:
            lines[MOST_FINDINGS:] = [f"{more} more, see the check of the preset"]
        super().__init__(
            f"{printable(run_name)} was not started",
            "\n\n".join(lines),
            [Choice(("y",), "start", "start it anyway")],
        )


class DeleteScreen(ChoiceScreen):
    """Asks before a run is deleted. Returns `delete` or None."""

    def __init__(self, run_name: str, question: str) -> None:
        super().__init__(
            f"Delete {printable(run_name)}?",
            f"{printable(question)}\n\nThis cannot be undone.",
            [Choice(("y",), "delete", "delete the run")],
        )


_KEY_NAMES = {"minus": "-", "plus": "+", "equals_sign": "=", "question_mark": "?", "slash": "/"}
"""Textual's names of keys that are better known by their character."""


class HelpScreen(ModalScreen[None]):
    """Lists the keys of a screen and what they do, from its table of actions."""

    BINDINGS = [Binding("escape,q,question_mark,enter,ctrl+c", "dismiss", "Close", show=False)]

    def __init__(self, actions: Sequence[Action]) -> None:
        super().__init__()
        self._actions = actions

    def compose(self) -> ComposeResult:
        """Lay out one line for each action. The list scrolls if the terminal is too short for it."""
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "keys"
            dialog.border_subtitle = "esc closes"
            for action in self._actions:
                keys = " ".join(_KEY_NAMES.get(key, key) for key in action.keys)
                yield Static(Content.assemble((f"{keys:<17}", "bold"), action.help))

    def action_leave(self) -> None:
        """Close the help."""
        self.dismiss()
