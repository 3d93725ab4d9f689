"""Asks for a learning rate, and shows what would become of it before it is confirmed."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.tui.formatting import format_lr
from torchconsole.tui.learning_rate import ACCEPTED_LINES, LearningRateCommand, parse_lr_line
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.chart import Chart
from torchconsole.tui.widgets.lr_curves import curve_ahead, lr_curves
from torchconsole.tui.widgets.sequential_input import SequentialInput

ROOMY_HEIGHT = 22
"""Rows from which there is room for the preview."""


class LearningRateScreen(ModalScreen[LearningRateCommand | None]):
    """Ends with the command that the user typed, or None; a mistake is explained below the input."""

    BINDINGS = [Binding("escape,ctrl+c", "cancel", "Cancel", show=False)]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (ROOMY_HEIGHT, "-roomy")]

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def compose(self) -> ComposeResult:
        """The present lr, the input, what it accepts or why it does not, and the curve as it would be."""
        # Else the dialog would be drawn twice, first without the preview.
        self.set_class(self.app.size.height >= ROOMY_HEIGHT, "-roomy")
        run = self._state.run
        held = ", held" if run.lr_held is not None else ""
        now = "" if run.lr is None else f" (now {format_lr(run.lr)}{held})"
        with Vertical(classes="dialog"):
            yield Static(f"Learning rate{now}", markup=False, classes="question")
            yield SequentialInput(placeholder="0.01, x0.5, hold or release")
            yield Static(
                f"Type {ACCEPTED_LINES}; enter sets it, esc cancels.", markup=False, classes="remark"
            )
            preview = Chart("lr", format_lr, id="preview")
            preview.show(lr_curves(self._state))
            yield preview

    def on_input_changed(self, event: SequentialInput.Changed) -> None:
        """Show what the line would do, once it says something."""
        try:
            self._preview(parse_lr_line(event.value))
        except ValueError:
            self._preview(None)

    def on_input_submitted(self, event: SequentialInput.Submitted) -> None:
        """Accept the line, or say what is wrong with it."""
        try:
            command = parse_lr_line(event.value)
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

    def _preview(self, command: LearningRateCommand | None) -> None:
        curves = lr_curves(self._state)
        if command is not None:
            after = self._state.outlook.after(command)
            if after.lr is not None:
                label = f"{format_lr(after.lr)}, at the end"
                curves += curve_ahead(self._state.run, after, label, "val")
        self.query_one("#preview", Chart).show(curves)
