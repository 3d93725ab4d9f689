"""The small charts of the menu's previews: the lr of a preset's runs, and the monitored metric of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchconsole.tui.widgets.lines import Line

if TYPE_CHECKING:
    from torchconsole.engine.protocol.series import Series
    from torchconsole.tui.run_outline import RunOutline

SMOOTHING = 0.9


def lr_curve(lr: Series, width: int, rows: int) -> list[Line]:
    """Draw the lr of a run."""
    from torchconsole.tui.charts.curves import Curve
    from torchconsole.tui.charts.single import draw_curves

    return draw_curves([Curve("", "steer", lr.rows, "exact")], width, rows, exact=True)


def metric_chart(outline: RunOutline | None, width: int, rows: int) -> list[Line]:
    """Draw the monitored metric of both splits; nothing before it has been read."""
    from torchconsole.tui.charts.curves import Curve
    from torchconsole.tui.charts.single import draw_curves
    from torchconsole.tui.charts.x_axis import stage_end

    if outline is None or outline.state is None:
        return [[] for _ in range(rows)]
    best = outline.record.best
    curves = []
    if (train := outline.history.get(outline.counterpart)) is not None and len(train):
        curves.append(Curve("train", "train", train.rows, has_band=True, smoothing=SMOOTHING))
    if (val := outline.history.get(outline.metric)) is not None and len(val):
        curves.append(Curve("val", "val", val.rows, "evaluations", best=best["step"] if best else None))
    state = outline.state
    end = stage_end(state.step, state.total_steps) if state.is_live else None
    return draw_curves(curves, width, rows, log=True, end=end)
