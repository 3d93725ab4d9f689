"""The learning rate dialog: takes an lr or a command about it, and previews its effect on the curve."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.tui.charts.canvas import Line
from torchconsole.tui.charts.panels import Panel
from torchconsole.tui.charts.run_scene import curve_ahead, lr_curves
from torchconsole.tui.formatting import format_lr
from torchconsole.tui.lr_preview import LrPreview
from torchconsole.tui.lr_syntax import ACCEPTED_LINES, parse_lr_line
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.chart import Chart
from torchconsole.tui.widgets.inputs import SequentialInput

HELP = f"Type {ACCEPTED_LINES}; enter sets it, esc cancels."

PREVIEW_MIN_HEIGHT = 22
"""Terminals with fewer rows have no room for the preview."""


class LearningRateScreen(ModalScreen[LearningRateCommand | None]):
    """Returns the command that the user typed, or None. An error is explained below the input."""

    BINDINGS = [Binding("escape,ctrl+c", "cancel", "Cancel", show=False)]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (PREVIEW_MIN_HEIGHT, "-roomy")]

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def compose(self) -> ComposeResult:
        """Lay out the current lr, the input, the remark about it, and the previewed curve."""
        # Set before the first layout. Otherwise the dialog is drawn twice, first without the preview.
        self.set_class(self.app.size.height >= PREVIEW_MIN_HEIGHT, "-roomy")
        run = self._state.run
        held = ", held" if run.lr_held is not None else ""
        now = "" if run.lr is None else f" (now {format_lr(run.lr)}{held})"
        with Vertical(classes="dialog"):
            yield Static(f"Learning rate{now}", markup=False, classes="question")
            yield SequentialInput(placeholder="0.01, x0.5, hold or release")
            yield Static(HELP, markup=False, classes="remark")
            yield Chart(id="preview")

    def on_mount(self) -> None:
        """Show the curve without a change."""
        self._preview(None)

    def on_input_changed(self, event: SequentialInput.Changed) -> None:
        """Preview the line once it is complete, or show why the engine would reject it."""
        try:
            command = parse_lr_line(event.value)
        except ValueError:
            command = None
        self._preview(command)

    def on_input_submitted(self, event: SequentialInput.Submitted) -> None:
        """Accept the line, or show what is wrong with it."""
        try:
            command = parse_lr_line(event.value)
            self._state.lr_after(command)
        except (ValueError, CommandRejectedError) as error:
            self._show_remark(str(error), is_error=True)
        else:
            self.dismiss(command)

    def action_cancel(self) -> None:
        """Close the dialog and leave the lr unchanged."""
        self.dismiss(None)

    action_leave = action_cancel

    def _preview(self, command: LearningRateCommand | None) -> None:
        curves, note = lr_curves(self._state), _end_of(self._state.lr_preview)
        remark, is_rejected = HELP, False
        if command is not None:
            try:
                after = self._state.lr_after(command)
            except CommandRejectedError as rejection:
                remark, is_rejected = str(rejection), True
            else:
                if after.lr is not None:
                    curves += curve_ahead(self._state.run, after, "", "val")
                    note = [("  → ", "muted"), (format_lr(after.lr), "bold val"), *_end_of(after)]
        self._show_remark(remark, is_error=is_rejected)
        panel = Panel("lr", curves, is_exact=True, note=note, format_value=format_lr)
        self.query_one("#preview", Chart).show(panel)

    def _show_remark(self, text: str, *, is_error: bool) -> None:
        remark = self.query_one(".remark", Static)
        remark.update(text)
        remark.set_class(is_error, "-error")


def _end_of(preview: LrPreview) -> Line:
    """Return where the previewed lr leads."""
    if not len(preview.steps):
        return []
    return [(f"  ┄ to {format_lr(float(preview.values[-1]))} at {int(preview.steps[-1]):,}", "muted")]
