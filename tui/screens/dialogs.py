"""Dialogs over a screen: multiple-choice questions, and a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key, Resize
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_lr, format_number
from torchconsole.tui.widgets.inputs import SequentialInput
from torchconsole.tui.widgets.lines import wrap
from torchconsole.tui.widgets.option_list import KeyedOptionList

_WIDTH, _SIDES, _MOST = 64, 6, 0.95
"""Cells of a dialog and of its edges, and its largest share of the terminal; see theme.tcss."""

_FIXED_ROWS = 4
"""The edges, and the blank rows below the question and the explanation."""

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
            yield KeyedOptionList(
                *(Option(_prompt(choice.keys, choice.label), id=choice.id) for choice in self._choices),
                Option(_prompt(("esc",), "cancel"), id="cancel"),
            )

    def on_resize(self, event: Resize) -> None:
        """Shorten the explanation where it would leave no room for the choices."""
        width, height = (floor(_MOST * cells) for cells in event.size)
        inner = max(1, min(_WIDTH, width) - _SIDES)
        question = wrap(self._question, inner)
        room = height - _FIXED_ROWS - len(question) - len(self._choices) - 1
        lines = [piece for part in self._explanation.splitlines() for piece in wrap(part, inner)]
        if len(lines) > room:
            lines = [*lines[: max(0, room - 1)], "…"]
        self.query_one(".question", Static).update("\n".join(question))
        explanation = self.query_one(".remark", Static)
        explanation.update("\n".join(lines))
        explanation.display = room > 0

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


class LargeLrChangeScreen(ChoiceScreen):
    """Asks before the lr changes by more than ten times. Returns `change` or None."""

    def __init__(self, before: float, after: float) -> None:
        factor = f" (x{format_number(after / before)})" if before else ""
        super().__init__(
            f"Change the lr from {format_lr(before)} to {format_lr(after)}?",
            f"That is more than ten times{factor}. A wrong lr can ruin the run.",
            [Choice(("y",), "change", "change the lr")],
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


class LeaveFormScreen(ChoiceScreen):
    """Asks before the changes in the form are lost. Returns `leave`, `save` or None."""

    def __init__(self, name: str, changed: str) -> None:
        super().__init__(
            f"Discard the changes to {printable(name)}?",
            f"You have changed {changed} without saving.",
            [Choice(("y",), "leave", "leave without saving"), Choice(("s",), "save", "save as a preset")],
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
    """Asks before runs are deleted, one by default. Returns `delete` or None."""

    def __init__(self, run_name: str, question: str, count: int = 1) -> None:
        super().__init__(
            f"Delete {printable(run_name)}?",
            f"{printable(question)}\n\nThis cannot be undone.",
            [Choice(("y",), "delete", f"delete the run{'s' * (count > 1)}")],
        )


class TextScreen(ModalScreen[str | None]):
    """Asks for a line of text. Returns it, or None if the user cancels."""

    BINDINGS = [Binding("escape,ctrl+c", "leave", "Cancel", show=False)]

    def __init__(self, question: str, text: str, placeholder: str) -> None:
        super().__init__()
        self._question = question
        self._text = text
        self._placeholder = placeholder

    def compose(self) -> ComposeResult:
        """Lay out the question and the line."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "enter accepts · esc cancels"
            yield Static(self._question, markup=False, classes="question")
            yield SequentialInput(self._text, placeholder=self._placeholder)

    def on_input_submitted(self, event: SequentialInput.Submitted) -> None:
        """Accept the line."""
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Close the dialog without an answer."""
        self.dismiss(None)
