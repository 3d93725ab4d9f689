"""What a figure of runs shows: which metrics share a panel, their curves, and the steps of changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol.buckets import Floats
from torchconsole.engine.protocol.run_state import History, RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metrics_window import Moment, read_moments
from torchconsole.engine.run.recorded_history import read_run_patiently
from torchconsole.engine.text import did_you_mean, printable
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.run_scene import group_of, groups_of
from torchconsole.tui.charts.units import unit_of
from torchconsole.tui.charts.x_axis import Unit
from torchconsole.tui.metric_direction import higher_is_better
from torchconsole.tui.metric_values import metric_values, monitored_metric

LARGEST = 1e200
"""Values beyond it are left out, and marked: matplotlib would compute their powers, and overflow."""

XUnit = Literal["step", "epoch", "minutes"]

SMOOTHING = 0.9
SMOOTHED_FROM = 100
"""Shorter curves are smoothed only if the user asks for it: the line would lag behind too far."""

MOST_PANELS = 3
"""Panels of runs that have logged neither a loss nor evaluations."""

LOG_SHARE = 0.15
"""An axis is logarithmic if at least this share of the values is far below the highest one. The end of a
cosine decay, which is next to 0, has less."""

LOG_DECADES, LR_LOG_DECADES = 1.0, 1.5
"""How many decades are far."""

LR_COMMANDS = (cmd.SetLearningRate, cmd.HoldLearningRate, cmd.ReleaseLearningRate)
NO_CHANGES = (cmd.SaveCheckpoint, cmd.RunEvaluation)
"""Commands that leave the training as it is."""

Panels = dict[str, list[str]]
"""Name of each panel -> the metrics that it shows."""


@dataclass(frozen=True)
class PlottedRun:
    """A run with its history: every value while it is short, then thinned to some thousand rows.

    `unit` is what the x axis counts.
    """

    name: str
    state: RunState
    history: History
    unit: Unit

    def curve(self, metric: str, smoothing: float | None) -> Curve | None:
        """Return the history of a metric, with its line smoothed by this decay; None if it has none.

        None as decay smooths long curves. Evaluations and the lr are never smoothed.
        """
        series = self.history.get(metric)
        if series is None:
            return None
        if metric == "lr" or metric.startswith(("val/", "test/")):
            smoothing = 0.0
        elif smoothing is None:
            smoothing = SMOOTHING if len(series) >= SMOOTHED_FROM else 0.0
        return Curve("", "", series.rows, smoothing=smoothing)

    def bests(self) -> dict[str, tuple[int, float]]:
        """Return the step and the value of the best evaluation of each metric."""
        return {
            found.name: (found.best_step, found.best)
            for found in metric_values(self.state, self.history)
            if found.best_step is not None and found.best is not None and abs(found.best) <= LARGEST
        }

    def lr_changes(self) -> list[int]:
        """Return the steps after which a command changed the lr."""
        return [applied.step for applied in self.state.changes if isinstance(applied.command, LR_COMMANDS)]

    def other_changes(self) -> list[int]:
        """Return the steps after which another command took effect, such as a pause, each once."""
        known = (*LR_COMMANDS, *NO_CHANGES)
        steps = [applied.step for applied in self.state.changes if not isinstance(applied.command, known)]
        return list(dict.fromkeys(steps))


def read_plotted(folder: RunFolder, x: XUnit) -> PlottedRun:
    """Read a run from its files, in bounded memory.

    Raises TorchconsoleError if it has logged nothing, or if the x axis cannot count in `x`; OSError.
    """
    state, history = read_run_patiently(folder)
    name = printable(folder.name)
    history = {metric: series for metric, series in history.items() if len(series)}
    if not history:
        raise TorchconsoleError(f"{name} has not logged any metrics, so there is nothing to plot")
    moments = [moment for moment in read_moments(folder.metrics_file) if moment.step > 0]
    unit = unit_of(x, state.steps_per_epoch, [Moment(0, 0, 0.0, 0.0), *moments])
    if unit.name != x:
        missing = "number of steps in an epoch" if x == "epoch" else "training time"
        raise TorchconsoleError(f"--x {x}: the {missing} of {name} is not known; use --x step")
    return PlottedRun(name, state, history, unit)


def choose_panels(runs: Sequence[PlottedRun], chosen: Sequence[str]) -> Panels:
    """Return the panels of a figure and their metrics: those that are chosen, else the usual ones.

    chosen: names of metrics, such as val/accuracy, or without their split, such as accuracy. Raises
    TorchconsoleError for one that no run has logged, and for a run without any of them.
    """
    logged = list(dict.fromkeys(chain.from_iterable(run.history for run in runs)))
    groups = groups_of(logged)
    if chosen:
        panels = _chosen(logged, groups, chosen)
    else:
        monitored = {monitored_metric(run.state) for run in runs}
        panels = {name: groups[name] for name in _usual(groups, monitored)}
    for run in runs:
        if run.history.keys().isdisjoint(chain.from_iterable(panels.values())):
            raise TorchconsoleError(f"{run.name} has not logged {' or '.join(panels)}: leave it out")
    return panels


def _chosen(logged: Collection[str], groups: Panels, chosen: Sequence[str]) -> Panels:
    panels: Panels = {}
    for name in chosen:
        found = [name] if name in logged else groups.get(name)
        if found is None:
            hint = did_you_mean(name, dict.fromkeys([*logged, *groups]))
            raise TorchconsoleError(f"--metric: no run has logged {name!r}{hint}")
        shown = panels.setdefault(group_of(name), [])
        shown += [metric for metric in found if metric not in shown]
    return panels


def _usual(groups: Panels, monitored: AbstractSet[str]) -> list[str]:
    """Return the panels of the losses, of the metric of evaluations that says most, and of the lr."""
    losses = [name for name in groups if name == "loss" or name.startswith("loss_")]
    evaluated = [
        name for name, own in groups.items() if name not in losses and any("val/" in metric for metric in own)
    ]
    evaluated.sort(key=lambda name: (monitored.isdisjoint(groups[name]), name != "accuracy"))
    names = [*losses, *evaluated[:1], *(name for name in groups if name == "lr")]
    return names if losses or evaluated else list(groups)[:MOST_PANELS]


def trace(curve: Curve) -> tuple[Floats, Floats]:
    """Return steps and values, (M,) each, of every value of a curve: of a bucket, minimum and maximum.

    What is not finite or beyond LARGEST is NaN.
    """
    rows = curve.rows
    sizes = np.where(rows.counts > 1, 2, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        is_falling = np.diff(rows.values, prepend=rows.values[:1]) < 0
    values = np.repeat(np.where(is_falling, rows.high, rows.low), sizes)
    values[np.cumsum(sizes) - 1] = np.where(is_falling, rows.low, rows.high)
    return np.repeat(rows.steps, sizes).astype(np.float64), _with_gaps(values)


def smoothed(curve: Curve) -> tuple[Floats, Floats]:
    """Return steps and values, (N,) each, of a curve's line. What is not finite or beyond LARGEST is NaN."""
    values = np.full(len(curve.rows.steps), np.nan)
    values[np.isfinite(curve.rows.values)] = curve.line
    return curve.rows.steps.astype(np.float64), _with_gaps(values)


def first_nonfinite(curve: Curve) -> list[int]:
    """Return the first step of each part of a curve that is not finite."""
    return _first_steps(curve, ~np.isfinite(curve.rows.values))


def first_too_large(curve: Curve) -> list[int]:
    """Return the first step of each part of a curve that has finite values beyond LARGEST."""
    low, high = (np.isfinite(each) & (np.abs(each) > LARGEST) for each in (curve.rows.low, curve.rows.high))
    return _first_steps(curve, low | high)


def _first_steps(curve: Curve, is_bad: NDArray[np.bool_]) -> list[int]:
    is_first = is_bad & ~np.append(False, is_bad[:-1])
    return [int(step) for step in curve.rows.steps[is_first]]


def needs_log_axis(name: str, curves: Sequence[Curve]) -> bool:
    """Whether a linear axis would hide much of a panel: of the lr, a loss or an error that is positive."""
    if name != "lr" and higher_is_better(name):
        return False
    rows = [curve.finite for curve in curves if len(curve.finite.steps)]
    if not rows or min(float(each.low.min()) for each in rows) <= 0:
        return False
    highest = max(float(each.high.max()) for each in rows)
    limit = highest / 10 ** (LR_LOG_DECADES if name == "lr" else LOG_DECADES)
    low = sum(int(each.counts[each.values < limit].sum()) for each in rows)
    return low >= LOG_SHARE * sum(int(each.counts.sum()) for each in rows)


def _with_gaps(values: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(values) <= LARGEST, values, np.nan)
