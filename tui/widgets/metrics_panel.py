"""The metrics panel: sparklines of the recent losses, and the latest value of every other metric."""

from __future__ import annotations

import numpy as np
from textual.app import ComposeResult
from textual.containers import Vertical

from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_metric
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.cached_render import CachedRender
from torchconsole.tui.widgets.lines import Line, LineWidget, flow
from torchconsole.tui.widgets.sparkline import Sparkline

_SHOWN_ELSEWHERE = {"train/loss", "val/loss", "lr", "samples_per_sec"}


class LatestMetrics(LineWidget):
    """`val/accuracy 0.9833`."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """As many metrics on a line as fit."""
        metrics = self._state.run.metrics
        items = [_metric(name, value) for name, value in metrics.items() if name not in _SHOWN_ELSEWHERE]
        return flow(items, width)


class MetricsPanel(Vertical, CachedRender):
    """How the losses have gone lately."""

    BORDER_TITLE = " metrics "

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state
        self._recent = {label: Sparkline(label, label, id=f"recent-{label}") for label in ("train", "val")}
        self._latest = LatestMetrics(state)

    def compose(self) -> ComposeResult:
        """Training above validation, the rest below."""
        yield from self._recent.values()
        yield self._latest

    def redraw(self) -> None:
        """Show the state as it is now."""
        for label, sparkline in self._recent.items():
            series = self._state.history.get(f"{label}/loss")
            sparkline.show(series.values if series else np.empty(0))
        self._latest.redraw()


def _metric(name: str, value: float | None) -> Line:
    shown = ("NaN", "bad") if value is None else (format_metric(value), "strong")
    return [(f"{printable(name)} ", "muted"), shown]
