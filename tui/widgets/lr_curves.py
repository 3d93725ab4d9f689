"""The curves of the learning rate: how it went, and fainter how it will go."""

from __future__ import annotations

import numpy as np

from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.lr_preview import LrPreview
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.chart import Curve


def lr_curves(state: ConsoleState) -> list[Curve]:
    """The history with the lr in force at its end, which a command may have changed, and what is to come."""
    series, run = state.history.get("lr"), state.run
    if not series or run.lr is None:
        return []
    steps = np.append(series.steps, max(run.step, int(series.steps[-1])))
    past = Curve("", "lr", steps, np.append(series.values, run.lr))
    metric = run.schedule.metric if run.schedule else None
    label = "at the end" if metric is None or run.lr_held is not None else f"goes by {metric}, at most"
    return [past, *(curve_ahead(run, state.lr_preview, label, "lr", faint=True) if run.is_live else [])]


def curve_ahead(run: RunState, preview: LrPreview, label: str, tone: str, faint: bool = False) -> list[Curve]:
    """The lr ahead, joined to the last step; nothing if the engine has not reported it yet."""
    if preview.lr is None or not len(preview.steps):
        return []
    steps = np.append(run.step, preview.steps)
    return [Curve(label, tone, steps, np.append(preview.lr, preview.values), faint=faint)]
