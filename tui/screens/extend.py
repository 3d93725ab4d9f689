"""Asks how many more epochs a finished run is to train, and shows the lr that this gives."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import printable
from torchconsole.tui import launch
from torchconsole.tui.formatting import format_lr
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.inputs import SequentialInput
from torchconsole.tui.widgets.lr_curve_pane import LrCurvePane, LrPart

if TYPE_CHECKING:
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.protocol.reports import LearningRateCurve

DELAY_SECONDS = 0.4
ROOMY = 18
"""Terminals with fewer rows have no room for the curve."""

HELP = "Epochs to add; further changes as key=value, as for resume --set."


class ExtendScreen(ModalScreen["Preset | None"]):
    """Returns the preset to resume with, or None. What refuses it is shown as by `torchconsole resume`."""

    BINDINGS = [Binding("escape,ctrl+c", "leave", "Cancel", show=False)]

    def __init__(self, folder: RunFolder, state: ConsoleState) -> None:
        super().__init__()
        self._folder = folder
        self._state = state
        self._line = SequentialInput(str(max(1, state.run.epoch)), placeholder="epochs, for example 10")
        self._remark = Static(HELP, markup=False, classes="remark")
        self._lr = LrCurvePane(id="lr")

    def compose(self) -> ComposeResult:
        """Lay out the question, the line, the remark about it, and the curve."""
        run = self._state.run
        self.set_class(self.app.size.height >= ROOMY, "-roomy")
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "enter extends · esc cancels"
            done = f"{run.epoch} of {run.total_epochs or run.epoch} done"
            question = f"Extend {run.name}: how many more epochs? ({done})"
            yield Static(printable(question), markup=False, classes="question")
            yield self._line
            yield self._remark
            yield self._lr

    def on_mount(self) -> None:
        """Show what the suggested number gives."""
        self._lr.boxed = False
        self._line.focus()
        self._suggest()

    @work(group="suggest")
    async def _suggest(self) -> None:
        """Suggest what lets the run go on, unless something was typed meanwhile."""
        first = self._line.value
        with suppress(TorchconsoleError, OSError):  # what is wrong is shown for the line, too
            suggested = await asyncio.to_thread(launch.suggested_extension, self._folder)
            if self._line.value == first:
                self._line.value = suggested
                self._line.cursor_position = len(suggested)

    def on_resize(self) -> None:
        """Show the curve where there is room."""
        self.set_class(self.app.size.height >= ROOMY, "-roomy")

    def on_input_changed(self) -> None:
        """Look at the line once nothing was typed for a while."""
        self._preview()

    async def on_input_submitted(self) -> None:
        """Extend the run, or show what refuses it."""
        preset = await self._extension()
        if preset is not None:
            self.dismiss(preset)

    def action_leave(self) -> None:
        """Close the dialog and leave the run as it is."""
        self.dismiss(None)

    async def _extension(self) -> Preset | None:
        """Return the preset that the line gives; if something refuses it, show that and return None."""
        try:
            preset = await asyncio.to_thread(launch.extension, self._folder, self._line.value)
        except (TorchconsoleError, OSError) as error:
            self._show_remark(str(error), is_error=True)
            self._lr.explain("correct the line to see the lr")
            return None
        training = preset.training
        limit = f" or {training.max_steps:,} steps" if training.max_steps else ""
        self._show_remark(f"training.epochs = {training.epochs}{limit}", is_error=False)
        return preset

    @work(exclusive=True, group="extend")
    async def _preview(self) -> None:
        await asyncio.sleep(DELAY_SECONDS)
        preset = await self._extension()
        if preset is None or not self.has_class("-roomy"):
            return
        self._lr.compute()
        try:
            curve = await launch.extended_lr(self._folder, preset)
        except (TorchconsoleError, OSError) as error:
            self._lr.explain(str(error))
        else:
            self._show_curve(curve)

    def _show_curve(self, curve: LearningRateCurve) -> None:
        past = self._state.history.get("lr")
        parts = [LrPart(past.steps.tolist(), past.values.tolist(), is_past=True)] if past else []
        ahead = curve.lrs[0]
        if not ahead:
            self._lr.explain("there is no step left")
            return
        self._lr.show(
            [*parts, LrPart(curve.steps, ahead)],
            f"{format_lr(ahead[0])} → {format_lr(ahead[-1])}",
            f"steps {curve.steps[0]:,} to {curve.total_steps:,}",
            f"{curve.metric} is assumed to stay as it is" if curve.metric else "",
        )

    def _show_remark(self, text: str, *, is_error: bool) -> None:
        self._remark.update(printable(text) if is_error else f"{printable(text)}\n{HELP}")
        self._remark.set_class(is_error, "-error")
