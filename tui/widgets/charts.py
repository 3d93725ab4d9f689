"""The charts of a run on one x axis; enlarged, they are the chart mode with a cursor and a window."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from textual import events, work

from torchconsole.engine.protocol.buckets import Rows
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metrics_window import read_window
from torchconsole.tui.charts.mode import SIGN_WIDTH, draw_mode, is_overview, list_width
from torchconsole.tui.charts.run_clock import RunClock
from torchconsole.tui.charts.run_scene import (
    SMOOTHINGS,
    ChartSettings,
    group_of,
    groups_of,
    last_step,
    metric_curve,
    run_axis,
    run_marks,
    run_panels,
    shown_metrics,
    usual_groups,
)
from torchconsole.tui.charts.stack import Scene, Stack
from torchconsole.tui.charts.units import TIMED_UNITS, UNITS, unit_of
from torchconsole.tui.charts.view import ChartView
from torchconsole.tui.charts.x_axis import XAxis
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.user_keys import Hint
from torchconsole.tui.widgets.chart import plot_style
from torchconsole.tui.widgets.chart_keys import chart_keys
from torchconsole.tui.widgets.lines import Line, LineWidget

if TYPE_CHECKING:
    from torchconsole.tui.themed_app import ThemedApp

CHART_SETTINGS = ("log_axis", "smoothing", "x_unit")
"""Actions that also work outside of the chart mode."""

_ZOOM, _PAN = 0.5, 0.25
_FAST = 10
_SETTLE_SECONDS = 0.15
"""A window is read once it has stayed for this long: keys that are held move it many times a second."""

_MANY_ROWS = 4
"""A window with fewer rows than this for each column is read from the file of the run."""


class Charts(LineWidget):
    """The loss chart above the others. With `is_mode`, they are the chart mode."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state
        self._stack = Stack()
        self._view = ChartView()
        self._log: set[str] = set()
        self._first = "loss"
        self._clock = RunClock(state)
        self._detail: dict[str, Rows] = {}
        self._detail_of: tuple[float, float] | None = None
        self._detail_run: RunState | None = None
        """The state for which the detail was read: there is another one once the run was resumed."""
        self._dragged_from: tuple[int, tuple[float, float]] | None = None
        self._has_dragged = self._drags_window = False
        self.is_mode = False

    def draw(self, width: int, height: int) -> list[Line]:
        """The charts that have room, with the first one as the largest."""
        scene = self._scene()
        if not self.is_mode:
            return self._stack.draw(scene, width, height)
        state = self._state
        curves = {
            name: metric_curve(state, name, self._themed_app.config.smoothing) for name in state.history
        }
        shown = set(shown_metrics(state, self._settings()))
        whole, keys = run_axis(state), chart_keys(self.app)
        return draw_mode(self._stack, scene, whole, curves, shown, self._first, keys, width, height)

    @property
    def _themed_app(self) -> ThemedApp[object]:
        return cast("ThemedApp[object]", self.app)

    def _settings(self) -> ChartSettings:
        config = self._themed_app.config
        log = {"loss"} if config.log_axis else set()
        is_zoomed = self.is_mode and self._view.window is not None
        return ChartSettings(
            smoothing=config.smoothing,
            log=frozenset(log | self._log),
            metrics=config.metrics,
            first=self._first if self.is_mode else "loss",
            detail=self._detail if is_zoomed and self._detail_run is self._state.run else {},
        )

    def _scene(self) -> Scene:
        run = self._state.run
        settings = self._settings()
        return Scene(
            panels=run_panels(self._state, settings),
            x=self._axis(),
            now=run.step if run.is_live else None,
            marks=run_marks(run),
            toggles=self._toggles(settings.smoothing),
            scale=Hint.of("y", "log_axis"),
            cursor=self._view.cursor if self.is_mode else None,
            style=plot_style(self),
            has_frame=self.screen.has_class("-framed"),
            is_dense=self.is_mode,
        )

    def _axis(self) -> XAxis:
        whole = run_axis(self._state)
        first, last = self._view.steps(whole, self._last) if self.is_mode else (whole.start, whole.end)
        name = self._themed_app.config.x_axis
        moments = self._clock.moments() if name in TIMED_UNITS else []
        unit = unit_of(name, self._state.run.steps_per_epoch, moments)
        start, end = unit.of_steps(np.array([first, last])).tolist()
        return XAxis(start, end, 1, unit) if end > start else whole

    def _toggles(self, smoothing: float) -> list[tuple[str, str]]:
        toggles: list[tuple[str, str]] = [
            (Hint.of("smooth", "smoothing"), f"{smoothing:g}".removeprefix("0") if smoothing else "off"),
            (Hint.of("x", "x_unit"), self._axis().unit.name),
        ]
        return [*toggles, ("▸", "follow")] if self.is_mode and self._view.is_following else toggles

    @property
    def _last(self) -> int:
        """The last step so far."""
        return last_step(self._state)

    def perform(self, action: str) -> None:
        """Do what a key of the charts asks for, by its name in the table of keys."""
        view, whole, last = self._view, run_axis(self._state), self._last
        x = self._stack.x or whole
        moves = {"cursor_left": -1, "cursor_right": 1, "cursor_far_left": -_FAST, "cursor_far_right": _FAST}
        if action in moves:
            view.move_cursor(moves[action], x, whole, last)
        elif action in ("cursor_first", "cursor_last"):
            view.place_cursor(whole.start if action == "cursor_first" else last, whole, last)
        elif action in ("zoom_in", "zoom_out"):
            view.zoom(_ZOOM if action == "zoom_in" else 1 / _ZOOM, whole, last)
        elif action in ("pan_left", "pan_right"):
            view.pan(-_PAN if action == "pan_left" else _PAN, whole, last)
        elif action == "show_all":
            view.show_all()
        elif action == "follow":
            view.follow(whole, last)
        elif action in ("chart_up", "chart_down"):
            self._choose_first(-1 if action == "chart_up" else 1)
        else:
            self._toggle(action)
        self._on_view_changed()

    def _choose_first(self, by: int) -> None:
        groups = list(groups_of(shown_metrics(self._state, self._settings())))
        if groups:
            at = groups.index(self._first) if self._first in groups else 0
            self._first = groups[(at + by) % len(groups)]

    def _toggle(self, action: str) -> None:
        """Change what is remembered: the log axis, the smoothing or the unit."""
        config = self._themed_app.config
        if action == "log_axis":
            first = self._first if self.is_mode else "loss"
            if first == "loss":
                self._themed_app.remember("log_axis", not config.log_axis)
            else:
                self._log ^= {first}
        elif action == "smoothing":
            at = SMOOTHINGS.index(config.smoothing) if config.smoothing in SMOOTHINGS else 0
            self._themed_app.remember("smoothing", SMOOTHINGS[(at + 1) % len(SMOOTHINGS)])
        elif action == "x_unit":
            at = UNITS.index(config.x_axis) if config.x_axis in UNITS else 0
            self._themed_app.remember("x_axis", UNITS[(at + 1) % len(UNITS)])

    def choose_metrics(self, metrics: list[str]) -> None:
        """Show these metrics; the usual ones if there are none."""
        self._themed_app.remember("metrics", metrics)
        self._on_view_changed()

    def choices(self) -> tuple[list[str], list[str], list[str]]:
        """Return all metrics, those that are shown, and those that are shown usually."""
        metrics = [name for own in groups_of(list(self._state.history)).values() for name in own]
        usual = set(usual_groups(metrics))
        shown = shown_metrics(self._state, self._settings())
        return metrics, shown, [name for name in metrics if group_of(name) in usual]

    def set_mode(self, is_mode: bool) -> None:
        """Become the chart mode, or the usual charts: without the cursor and the window."""
        if is_mode != self.is_mode:
            self.is_mode, self._first = is_mode, "loss"
            self._view, self._detail, self._detail_of = ChartView(), {}, None

    def _on_view_changed(self) -> None:
        self.redraw()
        self._read_detail()

    @work(exclusive=True, group="detail")
    async def _read_detail(self) -> None:
        """Read the window from the file of the run, if the history has too few rows of it."""
        window = self._view.steps(run_axis(self._state), self._last)
        if not self._needs_detail(window):
            return
        first, last = window
        margin = last - first
        wanted = (first - margin, last + margin)
        run = self._state.run
        path = RunFolder(Path(run.folder)).metrics_file
        await asyncio.sleep(_SETTLE_SECONDS)
        with suppress(OSError):
            self._detail = await asyncio.to_thread(read_window, path, *wanted)
            self._detail_of, self._detail_run = wanted, run
            self.redraw()

    def _needs_detail(self, window: tuple[float, float]) -> bool:
        if not (self.is_mode and self._view.window is not None):
            return False
        if self._detail_run is not self._state.run:
            self._detail_of = None
        if self._detail_of and self._detail_of[0] <= window[0] and window[1] <= self._detail_of[1]:
            return self._detail_of[1] - self._detail_of[0] > 8 * (window[1] - window[0])
        for metric in shown_metrics(self._state, self._settings()):
            rows = self._state.history[metric].rows
            seen = slice(*np.searchsorted(rows.steps, window).tolist())
            if len(rows.steps[seen]) < _MANY_ROWS * self.size.width and (rows.counts[seen] > 1).any():
                return True
        return False

    def on_click(self, event: events.Click) -> None:
        """Open the chart mode by a double click; there, a click puts the cursor, unless it ends dragging.

        In the list of curves, the sign shows or hides a curve; a name makes its chart the large one.
        """
        if event.y == 0:
            return
        if not self.is_mode:
            if event.chain == 2:
                self.run_worker(self.run_action("screen.chart_mode"))
            return
        if event.x < list_width(self.size.width):
            self._click_curve(event.x, event.y)
            return
        step = self._step_at(event.x)
        if step is not None and not self._has_dragged:
            self._view.place_cursor(step, run_axis(self._state), self._last)
            self._on_view_changed()

    def _click_curve(self, x: int, y: int) -> None:
        metrics, shown, usual = self.choices()
        if not 0 < y <= len(metrics):
            return
        metric = metrics[y - 1]
        is_sign = x < SIGN_WIDTH + self.screen.has_class("-framed")
        if is_sign or metric not in shown:
            chosen = {*shown} ^ {metric}
            self.choose_metrics([] if chosen == {*usual} else [name for name in metrics if name in chosen])
        if not is_sign:
            self._first = group_of(metric)
            self._on_view_changed()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag the charts, or the window on the whole run below them, which follows the pointer."""
        if event.y == 0:
            return
        has_frame = self.screen.has_class("-framed")
        is_below = self.is_mode and is_overview(event.y, self.size.height, has_frame=has_frame)
        self._drags_window = is_below and event.button == 1 and self._view.window is not None
        if self._drags_window:
            self._has_dragged = True
            self.capture_mouse()
            self._center_window(event.x)
        elif self.is_mode and self._step_at(event.x) is not None and event.button == 1:
            self._dragged_from = event.x, self._view.steps(run_axis(self._state), self._last)
            self._has_dragged = False
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Pan by the distance that the mouse was dragged."""
        if self._drags_window:
            self._center_window(event.x)
        if self._dragged_from is None or self._view.window is None or self._stack.x is None:
            return
        start, window = self._dragged_from
        if event.x != start:
            self._has_dragged = True
            share = (start - event.x) / self._stack.x.columns
            self._view.window, self._view.is_following = window, False
            self._view.pan(share, run_axis(self._state), self._last)
            self._on_view_changed()

    def on_mouse_up(self) -> None:
        """End dragging."""
        self._dragged_from, self._drags_window = None, False
        self.release_mouse()

    def _center_window(self, x: int) -> None:
        if self._stack.x is not None:
            whole = run_axis(self._state)
            left = self._stack.plot_left + list_width(self.size.width)
            step = XAxis(whole.start, whole.end, self._stack.x.columns).step_at(x - left)
            self._view.center(step, whole, self._last)
            self._on_view_changed()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in at the mouse pointer."""
        self._scroll(event, _ZOOM)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out."""
        self._scroll(event, 1 / _ZOOM)

    def _scroll(self, event: events.MouseEvent, factor: float) -> None:
        if self.is_mode:
            event.stop()
            self._view.zoom(factor, run_axis(self._state), self._last, self._step_at(event.x))
            self._on_view_changed()

    def _step_at(self, x: int) -> float | None:
        """Return the step under a column of the widget; None if it is not in a plot."""
        axis = self._stack.x
        left = self._stack.plot_left + (list_width(self.size.width) if self.is_mode else 0)
        if axis is None or not left <= x < left + axis.columns:
            return None
        return axis.step_at(x - left)
