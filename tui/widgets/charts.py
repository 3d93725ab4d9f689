"""The charts of a run: the losses above, the learning rate below on the same step axis."""

from __future__ import annotations

import numpy as np
from textual.app import ComposeResult
from textual.containers import Vertical

from torchconsole.tui.formatting import format_lr, format_number
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.chart import Chart, Curve

_FACTOR_DIGITS = 2


class Charts(Vertical):
    """Redrawn from the state's history."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def compose(self) -> ComposeResult:
        """One above the other."""
        yield Chart("loss", id="loss-chart")
        yield Chart("lr", format_lr, id="lr-chart")

    def redraw(self) -> None:
        """Show the state as it is now."""
        losses = [self._loss("train", marked=False), self._loss("val", marked=True)]
        self.query_one("#loss-chart", Chart).show([curve for curve in losses if curve])
        self.query_one("#lr-chart", Chart).show(self._lr_curves(), self._pending_lr())

    def _loss(self, label: str, marked: bool) -> Curve | None:
        series = self._state.history.get(f"{label}/loss")
        return Curve(label, label, series.steps, series.values, marked) if series else None

    def _lr_curves(self) -> list[Curve]:
        """The history, and at its end the lr in force, which a command may have changed since."""
        series, run = self._state.history.get("lr"), self._state.run
        if not series or run.lr is None:
            return []
        steps = np.append(series.steps, max(run.step, int(series.steps[-1])))
        return [Curve("", "lr", steps, np.append(series.values, run.lr))]

    def _pending_lr(self) -> str:
        """What is asked for, roughly: the engine alone has the exact value that factors apply to."""
        pending = self._state.pending_lr
        return "" if pending is None else f"-> {format_number(pending, _FACTOR_DIGITS)} pending"
