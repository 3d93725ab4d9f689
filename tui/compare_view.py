"""How compared runs are looked at: the metric, the part of the x axis, the cursor, what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from torchconsole.tui.charts.x_axis import STEPS, Unit
from torchconsole.tui.comparison import ComparedRun, Comparison
from torchconsole.tui.formatting import format_count, format_number

XUnit = Literal["step", "epoch", "minutes"]

UNITS: tuple[XUnit, ...] = ("step", "epoch", "minutes")
SMOOTHING = (0.0, 0.9, 0.99)
SCALE = 1000
"""An epoch or a minute has so many parts, because the x axis counts in whole numbers."""

ZOOM = 2.0
LEAST_SPAN = 4.0


@dataclass
class CompareView:
    """Changed by the keys of the screen. Positions on the x axis are in the present unit, times SCALE.

    `cursor` is None until the user moves it: the values are then those at the end. `window` is None for the
    whole. `hidden` are indices of runs, `chosen` the metrics that have a chart; only `metric` if it is not
    among them.
    """

    comparison: Comparison
    metric: str = ""
    chosen: list[str] = field(default_factory=list)
    unit: XUnit = "step"
    log: bool | None = None
    smoothing: float = 0.0
    cursor: float | None = None
    window: tuple[float, float] | None = None
    hidden: set[int] = field(default_factory=set)
    reference: int = 0
    all_settings: bool = False
    is_grouped: bool = True

    def take(self, comparison: Comparison) -> None:
        """Show what was read anew."""
        self.comparison = comparison
        metrics = comparison.metrics
        if self.metric not in metrics:
            self.metric = metrics[0] if metrics else ""

    @property
    def metrics(self) -> list[str]:
        """The metrics that have a chart: the one that the values are of, and then others."""
        return self.chosen if self.metric in self.chosen else [self.metric]

    def show_metrics(self, metrics: Sequence[str]) -> None:
        """Show charts of some metrics, at least one. The values stay those of the same metric if they can."""
        self.metric = self.metric if self.metric in metrics else metrics[0]
        self.chosen = [self.metric, *(metric for metric in metrics if metric != self.metric)]

    @property
    def shown(self) -> list[int]:
        """The indices of the runs that are not hidden."""
        return [index for index in range(len(self.comparison.runs)) if index not in self.hidden]

    @property
    def x_unit(self) -> Unit:
        """The unit, for the charts."""
        if self.unit == "step":
            return STEPS
        exact = "{:,.2f}".format if self.unit == "epoch" else "{:,.1f} min".format
        return Unit(self.unit, _to_unit, _from_unit, format_tick=_tick, format_exact=exact, is_whole=False)

    def factor(self, run: ComparedRun) -> float:
        """Return how many parts of the x axis a step of a run takes."""
        state = run.state
        if self.unit == "step" or state is None:
            return 1.0
        if self.unit == "epoch":
            return SCALE / state.steps_per_epoch if state.steps_per_epoch else 1.0
        seconds = state.active_seconds / state.step if state.step else 0.0
        return SCALE * seconds / 60 or 1.0

    @property
    def end(self) -> float:
        """Where the longest of the shown runs ends."""
        ends = [
            self.factor(self.comparison.runs[index]) * series.steps[-1]
            for index in self.shown
            for metric in self.metrics
            if (series := self.comparison.runs[index].series(metric)) is not None
        ]
        return max(float(max(ends, default=1.0)), 1.0)

    @property
    def span(self) -> tuple[float, float]:
        """The part of the x axis that is shown."""
        return self.window or (0.0, self.end)

    def step_of(self, run: ComparedRun, position: float) -> float:
        """Return the step of a run at a position."""
        return position / self.factor(run)

    def next_metric(self, by: int = 1) -> None:
        """Show the next metric."""
        metrics = self.comparison.metrics
        if metrics:
            index = metrics.index(self.metric) if self.metric in metrics else 0
            self.metric = metrics[(index + by) % len(metrics)]
            self.chosen = []

    def held_by(self, metric: str) -> str:
        """Return how many of the runs have a metric, unless all have it."""
        runs = self.comparison.runs
        count = sum(run.series(metric) is not None for run in runs)
        return "" if count == len(runs) else f"{count} of {len(runs)} runs"

    def next_unit(self) -> None:
        """Show x in the next unit that all runs have. The window and the cursor begin anew."""
        states = [run.state for run in self.comparison.runs if run.state is not None]
        units = [unit for unit in UNITS if unit != "epoch" or all(state.steps_per_epoch for state in states)]
        self.unit = units[(units.index(self.unit) + 1) % len(units)] if self.unit in units else "step"
        self.window = self.cursor = None

    def next_smoothing(self) -> None:
        """Smooth the lines by the next of SMOOTHING."""
        self.smoothing = SMOOTHING[(SMOOTHING.index(self.smoothing) + 1) % len(SMOOTHING)]

    def toggle_run(self, index: int) -> None:
        """Hide a run, or show it again; one is always shown."""
        if index in self.hidden:
            self.hidden.remove(index)
        elif index < len(self.comparison.runs) and len(self.shown) > 1:
            self.hidden.add(index)

    def next_reference(self) -> None:
        """Compare with the next of the shown runs."""
        later = [index for index in self.shown if index > self.reference]
        self.reference = later[0] if later else self.shown[0]

    def move_cursor(self, columns: int, width: int) -> None:
        """Move the cursor by columns of a plot of this width; the window follows it."""
        first, last = self.span
        column = (last - first) / max(1, width)
        start = last if self.cursor is None else self.cursor
        self.set_cursor(start + columns * column)

    def set_cursor(self, position: float) -> None:
        """Put the cursor somewhere, once the runs have been read; the window follows it."""
        if not self.comparison.runs:
            return
        self.cursor = min(max(0.0, position), self.end)
        if self.window:
            first, last = self.window
            shift = min(0.0, self.cursor - first) + max(0.0, self.cursor - last)
            self.window = first + shift, last + shift

    def zoom(self, factor: float, around: float | None = None) -> None:
        """Show a part `factor` times as wide, around a position, by default the cursor or the middle."""
        first, last = self.span
        middle = around if around is not None else self.cursor
        if middle is None or not first <= middle <= last:
            middle = (first + last) / 2
        self._show(middle - (middle - first) * factor, middle + (last - middle) * factor)

    def pan(self, share: float) -> None:
        """Move the window by a share of its width."""
        first, last = self.span
        shift = share * (last - first)
        self._show(first + shift, last + shift)

    def follow(self) -> None:
        """Show the newest values: the window's end is the end."""
        if self.window:
            first, last = self.window
            self._show(self.end - (last - first), self.end)
        self.cursor = None

    def _show(self, first: float, last: float) -> None:
        """Show a part of the x axis, moved to where there is something."""
        width = max(LEAST_SPAN, last - first)
        if width >= self.end:
            self.window = None
            return
        first = min(max(0.0, first), self.end - width)
        self.window = first, first + width


def statistics_at(view: CompareView, members: Sequence[int], position: float) -> list[float | None]:
    """Return the values of all runs at a position; None for runs that are not members."""
    return [
        run.value_at(view.metric, view.step_of(run, position)) if index in members else None
        for index, run in enumerate(view.comparison.runs)
    ]


def _to_unit(steps: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.float64]:
    return steps / SCALE


def _from_unit(x: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.float64]:
    return x * SCALE


def _tick(value: float) -> str:
    return format_number(value) if value < SCALE else format_count(value)
