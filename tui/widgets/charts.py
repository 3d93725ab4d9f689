"""The charts of a run: the losses so far above, the learning rate below, to the run's end."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from torchconsole.tui.formatting import format_lr, format_number
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.cached_render import CachedRender
from torchconsole.tui.widgets.chart import Chart, Curve
from torchconsole.tui.widgets.lr_curves import lr_curves

_FACTOR_DIGITS = 2


class Charts(Vertical, CachedRender):
    """One above the other."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield LossChart(self._state)
        yield LearningRateChart(self._state)


class LossChart(Chart):
    """Of training and validation, from the state's history."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__("loss", id="loss-chart")
        self._state = state

    def redraw(self) -> None:
        """Show the state as it is now."""
        losses = [self._loss("train", marked=False), self._loss("val", marked=True)]
        self.show([curve for curve in losses if curve])

    def _loss(self, label: str, marked: bool) -> Curve | None:
        series = self._state.history.get(f"{label}/loss")
        if not series:
            return None
        # A resize draws these again, perhaps when the series has been thinned in its place.
        return Curve(label, label, series.steps.copy(), series.values.copy(), marked)


class LearningRateChart(Chart):
    """Its history, and what is to come."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__("lr", format_lr, id="lr-chart")
        self._state = state

    def redraw(self) -> None:
        """Show the state as it is now."""
        self.show(lr_curves(self._state), self._note_on_change())

    def _note_on_change(self) -> str:
        """A hold, and what is asked for, roughly: the engine alone has the exact value to multiply."""
        pending = self._state.pending_lr
        asked = "" if pending is None else f"-> {format_number(pending, _FACTOR_DIGITS)} pending"
        return f"{'held ' if self._state.run.lr_held is not None else ''}{asked}".rstrip()
