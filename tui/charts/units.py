"""The units of the x axis: steps, epochs, minutes of training, and the time of day."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from torchconsole.engine.protocol.buckets import Floats
from torchconsole.engine.run.metrics_window import Moment
from torchconsole.tui.charts.x_axis import STEPS, Unit

UNITS = ("step", "epoch", "minutes", "clock")
TIMED_UNITS = ("minutes", "clock")
"""Those that need the moments of the run."""

_DAY = 24 * 60


def unit_of(name: str, steps_per_epoch: int | None, moments: Sequence[Moment]) -> Unit:
    """Return a unit of the x axis. Steps stand for a unit whose relation to them is not known."""
    if name == "epoch" and steps_per_epoch:
        return Unit(
            "epoch",
            lambda steps: steps / steps_per_epoch,
            lambda epochs: epochs * steps_per_epoch,
            format_tick=lambda epoch: f"{epoch:g}",
            format_exact=lambda epoch: f"{epoch:.4g}",
            is_whole=False,
        )
    if name == "minutes" and len(moments) > 1:
        minutes = [moment.active_seconds / 60 for moment in moments]
        return _timed("minutes", moments, minutes, _format_minutes, _format_minutes)
    if name == "clock" and len(moments) > 1:
        local = time.localtime(moments[0].time)
        start = local.tm_hour * 60 + local.tm_min + local.tm_sec / 60
        minutes = [start + (moment.time - moments[0].time) / 60 for moment in moments]
        return _timed("clock", moments, minutes, _format_clock, _format_exact_clock)
    return STEPS


def _timed(
    name: str,
    moments: Sequence[Moment],
    minutes: Sequence[float],
    format_tick: Callable[[float], str],
    format_exact: Callable[[float], str],
) -> Unit:
    """Return a unit that is known at some steps; beyond the last one it goes on at the mean pace."""
    steps = np.array([moment.step for moment in moments], dtype=np.float64)
    values = np.maximum.accumulate(np.array(minutes))
    # A pause makes no step take longer than none: keep the values ascending, so that both ways agree.
    values = values + np.arange(len(values)) * 1e-9
    pace = max((values[-1] - values[0]) / (steps[-1] - steps[0]), 1e-9)

    def of_steps(at: Floats) -> Floats:
        known: Floats = np.interp(at, steps, values)
        beyond: Floats = pace * (np.maximum(at - steps[-1], 0) + np.minimum(at - steps[0], 0))
        return known + beyond

    def to_steps(at: Floats) -> Floats:
        known: Floats = np.interp(at, values, steps)
        beyond: Floats = (np.maximum(at - values[-1], 0) + np.minimum(at - values[0], 0)) / pace
        return known + beyond

    return Unit(name, of_steps, to_steps, format_tick, format_exact, is_whole=False, base=60.0)


def _format_minutes(minutes: float) -> str:
    """Format minutes of training: `0:30`, `12:00`, `3:20 h`."""
    seconds = round(minutes * 60)
    if abs(seconds) < 3600:
        return f"{seconds // 60}:{seconds % 60:02}"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02} h"


def _format_clock(minutes: float) -> str:
    """Format minutes since midnight: `14:05`."""
    return _format_exact_clock(minutes)[:5]


def _format_exact_clock(minutes: float) -> str:
    """Format minutes since midnight: `14:05:30`."""
    seconds = round(minutes * 60) % (60 * _DAY)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
