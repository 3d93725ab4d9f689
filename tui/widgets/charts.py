"""The charts of a run: the losses so far, and below them the learning rate up to the run's end."""

from __future__ import annotations

import numpy as np
from textual.app import ComposeResult
from textual.containers import Vertical

from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.formatting import format_lr, format_number
from torchconsole.tui.lr_preview import LrPreview
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.chart import Chart, Curve
from torchconsole.tui.widgets.lines import CachedRender

_PENDING_DIGITS = 2


class Charts(Vertical, CachedRender):
    """The loss chart above the learning rate chart."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield LossChart(self._state)
        yield LearningRateChart(self._state)


class LossChart(Chart):
    """The training and the validation loss, from the state's history."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__("loss", id="loss-chart")
        self._state = state

    def redraw(self) -> None:
        """Draw the current state."""
        losses = [self._loss("train", marked=False), self._loss("val", marked=True)]
        self.show([curve for curve in losses if curve], self._state.run.loss_unit, "muted")

    def _loss(self, label: str, marked: bool) -> Curve | None:
        series = self._state.history.get(f"{label}/loss")
        if not series:
            return None
        # Copy: a resize draws the curve again, and by then the series may have been thinned in place.
        return Curve(label, label, series.steps.copy(), series.values.copy(), marked)


class LearningRateChart(Chart):
    """The learning rate so far, and the planned one up to the run's end."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__("lr", format_lr, id="lr-chart")
        self._state = state

    def redraw(self) -> None:
        """Draw the current state."""
        self.show(lr_curves(self._state), self._lr_note())

    def _lr_note(self) -> str:
        """Whether the lr is held, and a pending lr in few digits: only the engine has the exact value."""
        pending = self._state.pending_lr
        change = "" if pending is None else f"-> {format_number(pending, _PENDING_DIGITS)} pending"
        return f"{'held ' if self._state.run.lr_held is not None else ''}{change}".rstrip()


def lr_curves(state: ConsoleState) -> list[Curve]:
    """Return the lr's history up to the lr in force, which a command may have changed, and its plan."""
    series, run = state.history.get("lr"), state.run
    if not series or run.lr is None:
        return []
    steps = np.append(series.steps, max(run.step, int(series.steps[-1])))
    past = Curve("", "lr", steps, np.append(series.values, run.lr))
    metric = run.schedule.metric if run.schedule else None
    label = "at the end" if metric is None or run.lr_held is not None else f"depends on {metric}, at most"
    return [past, *(curve_ahead(run, state.lr_preview, label, "lr", faint=True) if run.is_live else [])]


def curve_ahead(run: RunState, preview: LrPreview, label: str, tone: str, faint: bool = False) -> list[Curve]:
    """Return the lr ahead, joined to the last step; empty if the engine has not reported it yet."""
    if preview.lr is None or not len(preview.steps):
        return []
    steps = np.append(run.step, preview.steps)
    return [Curve(label, tone, steps, np.append(preview.lr, preview.values), faint=faint)]
