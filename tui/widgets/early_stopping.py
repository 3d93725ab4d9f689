"""Early stopping as a track of the last evaluations, with the value to beat and the step at which it ends."""

from __future__ import annotations

import numpy as np

from torchconsole.engine.protocol.info import EarlyStoppingInfo
from torchconsole.engine.text import printable
from torchconsole.tui.empty_texts import no_evaluation
from torchconsole.tui.formatting import format_metric
from torchconsole.tui.screens.run_plan import Stage
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.frames import crop, ends, frame, meter
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width

FEW_LEFT = 4
_LATE_SHARE = 0.6
"""Evaluations without improvement beyond this share of the patience are drawn as bad."""
_RECENT_EVALUATIONS = 6


class EarlyStoppingPanel(LineWidget):
    """`★─●─●─○─○` above the best value, the value to beat, and the step at which the run would end."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state
        self.stage: Stage = "normal"

    def draw(self, width: int, height: int) -> list[Line]:
        """The track, the values, and the end; one line before the first evaluation."""
        info = self._state.run.early_stopping
        inner = width - 4
        if info is None:
            text = no_evaluation(self._state)
            return frame([[(text, "faint")]], width, height, [("early stopping", "bold strong")])
        title: Line = [("early stopping", "bold strong"), (f" {printable(info.monitor)}", "muted")]
        if self.stage == "large":
            title.append((f", patience {info.patience:,}", "muted"))
        body = [_track(info, inner), *_values(info, inner), [(_end(self._state, info, inner), "muted")]]
        return frame(body, width, height, title, left_span(info))


def uses_early_stopping(state: ConsoleState) -> bool:
    """Return whether the run's preset has early stopping."""
    return bool(state.run.config.get("early_stopping"))


def left_span(info: EarlyStoppingInfo) -> Line:
    """`4 left`: the evaluations that may still bring no improvement."""
    left = max(0, info.patience - info.counter)
    tone = "bold attn" if left <= FEW_LEFT and info.counter else "muted"
    return [(f"{left:,} left", tone)]


def stopping_summary(state: ConsoleState, width: int) -> Line:
    """`stop ★●●●○○○ 4 left`, for a small screen; empty if the run has no early stopping."""
    info = state.run.early_stopping
    if not uses_early_stopping(state) or info is None:
        return []
    name: Line = [("stop ", "muted")]
    room = width - line_width(name) - line_width(left_span(info)) - 2
    return ends([*name, *_track(info, room, connected=False)], left_span(info), width - 1)


def _track(info: EarlyStoppingInfo, width: int, *, connected: bool = True) -> Line:
    """One sign for each evaluation since the best one and for each that is left; a bar if they do not fit."""
    total = max(info.patience, info.counter)
    # The patience may be in the millions: compare before building a text of that length.
    if total + 1 > width:
        counts: Line = [(f"{info.counter:,} of {info.patience:,} ", "text")]
        columns = max(0, min(20, width - line_width(counts)))
        share = info.counter / max(1, info.patience)
        return crop([*counts, *meter(share, columns, "bad" if share > _LATE_SHARE else "val")], width)
    link = "─" if connected and 2 * total + 1 <= width else ""
    late = int(_LATE_SHARE * info.patience)
    spent, bad = min(info.counter, late), max(0, info.counter - late)
    track: Line = [("★", "attn")]
    for count, sign, tone in ((spent, "●", "val"), (bad, "●", "bad"), (total - info.counter, "○", "faint")):
        if count:
            track.append((f"{link}{sign}" * count, tone))
    return track


def _values(info: EarlyStoppingInfo, width: int) -> list[Line]:
    if info.best is None:
        return [[("no evaluation yet", "faint")]]
    best: Line = [("★ ", "attn"), (format_metric(info.best), "bold strong")]
    at: Line = [] if info.best_step is None else [(f" @ {info.best_step:,}", "muted")]
    target: Line = []
    if info.target is not None:
        target = [("beat ", "muted"), (format_metric(info.target), "text")]
    line = [*best, *at, ("  ", "text"), *target]
    return [line if line_width(line) <= width else crop([*best, ("  ", "text"), *target], width)]


def _end(state: ConsoleState, info: EarlyStoppingInfo, width: int) -> str:
    """Return at which step a live run ends if no evaluation is better."""
    step = end_step(state, info) if state.run.is_live else None
    if step is None:
        return ""
    total = state.run.total_steps
    if total is not None and step > total:
        return shorten(f"cannot stop it before step {total:,}", width)
    texts = (f"stops at {step:,} if none is better", f"stops at {step:,}")
    return next((text for text in texts if len(text) <= width), shorten(texts[-1], width))


def end_step(state: ConsoleState, info: EarlyStoppingInfo) -> int | None:
    """Return the step of the evaluation that would exhaust the patience; None while that is unknown."""
    series = state.history.get(info.monitor)
    if not series or not len(series):
        return None
    steps = series.steps[-_RECENT_EVALUATIONS:]
    last = int(steps[-1])
    if len(steps) > 1:
        between = float(np.median(np.diff(steps)))
    elif state.run.steps_per_epoch:
        between = float(state.run.steps_per_epoch)
    else:
        return None
    return last + round(between * max(0, info.patience - info.counter))
