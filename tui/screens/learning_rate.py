"""Asks for a learning rate."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.protocol.commands import SetLearningRate
from torchconsole.tui.formatting import format_lr
from torchconsole.tui.learning_rate import ACCEPTED, parse_learning_rate
from torchconsole.tui.widgets.ordered_input import OrderedInput


class LearningRateScreen(ModalScreen[SetLearningRate | None]):
    """Ends with the command that the user typed, or None; a mistake is explained below the input."""

    BINDINGS = [Binding("escape,ctrl+c", "cancel", "Cancel", show=False)]

    def __init__(self, current: float | None) -> None:
        super().__init__()
        self._current = current

    def compose(self) -> ComposeResult:
        """The present lr, the input, and what it accepts or why it does not."""
        now = "" if self._current is None else f" (now {format_lr(self._current)})"
        with Vertical(classes="dialog"):
            yield Static(f"Learning rate{now}", markup=False, classes="question")
            yield OrderedInput(placeholder="0.01 or x0.5")
            yield Static(f"Type {ACCEPTED}; enter sets it, esc cancels.", markup=False, classes="remark")

    def on_input_submitted(self, event: OrderedInput.Submitted) -> None:
        """Accept the line, or say what is wrong with it."""
        try:
            command = parse_learning_rate(event.value)
        except ValueError as mistake:
            remark = self.query_one(".remark", Static)
            remark.update(str(mistake))
            remark.add_class("-mistake")
        else:
            self.dismiss(command)

    def action_cancel(self) -> None:
        """Leave the lr as it is."""
        self.dismiss(None)

    action_leave = action_cancel
