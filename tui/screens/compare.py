"""The screen that compares up to six runs: their curves, a table of values, the settings that differ."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.events import Click, MouseMove, MouseScrollDown, MouseScrollUp, Resize
from textual.message import Message

from torchconsole.engine.text import printable
from torchconsole.tui.compare_charts import draw_charts, plot_place
from torchconsole.tui.compare_view import ZOOM, CompareView
from torchconsole.tui.comparison import ComparedRun, Comparison, read_compared
from torchconsole.tui.keys import COMPARE, COMPARE_KEYS, EVERYWHERE, LISTS, actions_of, bindings
from torchconsole.tui.screens.keyed import KeyedScreen
from torchconsole.tui.screens.metric_chooser import MetricChooser
from torchconsole.tui.user_keys import Hint, toggle_hints
from torchconsole.tui.widgets.chart import plot_style
from torchconsole.tui.widgets.compare_lists import CompareRuns, CompareSettings
from torchconsole.tui.widgets.footer import ActionBar
from torchconsole.tui.widgets.frames import FramedLines, framed, inner_size
from torchconsole.tui.widgets.lines import Line

if TYPE_CHECKING:
    from textual.worker import Worker

    from torchconsole.engine.run.record import RunRecord

REFRESH_SECONDS = 2.0
REST = 15.0
"""After live runs were read, the next reading waits at least this many times as long as it took."""

LEAST_CHART = 6


class CompareScreen(KeyedScreen):
    """Shows runs side by side; live ones are read again and again."""

    SECTIONS = (*COMPARE_KEYS, LISTS)
    BINDINGS = bindings(COMPARE, EVERYWHERE)

    @dataclass
    class CloseRequested(Message):
        """The user leaves the screen."""

        screen: CompareScreen

    def __init__(self, runs: Sequence[RunRecord]) -> None:
        super().__init__()
        self._records = list(runs)
        self.view = CompareView(Comparison([]))
        self.chart = CompareChart(self.view)
        self.runs = CompareRuns(self.view)
        self.settings = CompareSettings(self.view)

    def compose(self) -> ComposeResult:
        """Lay out the chart above the runs, and the settings below."""
        yield self.chart
        yield self.runs
        yield self.settings
        # The frames of the lists show their own keys.
        yield ActionBar([each for each in actions_of(*COMPARE_KEYS) if each.config_name != "next"])

    def on_mount(self) -> None:
        """Begin to read the runs."""
        self.set_focus(self.runs)
        _: Worker[None] = self.run_worker(self._follow, group="compare", exclusive=True)

    def on_resize(self, event: Resize) -> None:
        """Lay the parts out for the new size."""
        self._lay_out(event.size.width, event.size.height)

    def action_move_cursor(self, columns: int) -> None:
        """Move the cursor by columns."""
        self.view.move_cursor(columns, self.chart.columns)
        self.redraw()

    def action_to_start(self) -> None:
        """Move the cursor to the start."""
        self.view.set_cursor(0.0)
        self.redraw()

    def action_to_end(self) -> None:
        """Move the cursor to the end."""
        self.view.set_cursor(self.view.end)
        self.redraw()

    def action_zoom(self, factor: float) -> None:
        """Show a part `factor` times as wide."""
        self.view.zoom(factor)
        self.redraw()

    def action_pan(self, share: float) -> None:
        """Show the part beside."""
        self.view.pan(share)
        self.redraw()

    def action_show_all(self) -> None:
        """Show the whole of the runs, without a cursor."""
        self.view.window = self.view.cursor = None
        self.redraw()

    def action_follow(self) -> None:
        """Show the newest values."""
        self.view.follow()
        self.redraw()

    def action_toggle_log(self) -> None:
        """Switch between a logarithmic and a linear y axis."""
        self.view.log = not self.chart.is_log
        self.redraw()

    def action_smooth(self) -> None:
        """Smooth the lines otherwise."""
        self.view.next_smoothing()
        self.redraw()

    def action_next_unit(self) -> None:
        """Show x in the next unit."""
        self.view.next_unit()
        self.redraw()

    def action_next_metric(self, by: int) -> None:
        """Show another metric."""
        self.view.next_metric(by)
        self.redraw()

    def action_choose_metrics(self) -> None:
        """Ask which metrics have a chart."""
        metrics = self.view.comparison.metrics
        if not metrics:
            return

        def on_answer(chosen: list[str] | None) -> None:
            if chosen:
                self.view.show_metrics(chosen)
                self.redraw()

        remarks = {metric: self.view.held_by(metric) for metric in metrics}
        self.app.push_screen(MetricChooser(metrics, self.view.metrics, remarks=remarks), on_answer)

    def action_toggle_run(self, index: int) -> None:
        """Show or hide a run."""
        self.view.toggle_run(index)
        self.redraw()

    def action_select(self) -> None:
        """Show or hide the highlighted run."""
        self.action_toggle_run(self.runs.highlighted)

    def on_compare_runs_toggled(self, event: CompareRuns.Toggled) -> None:
        """Show or hide the run that was clicked."""
        self.action_toggle_run(event.index)

    def action_next_reference(self) -> None:
        """Compare with the next run."""
        self.view.next_reference()
        self.redraw()

    def action_all_settings(self) -> None:
        """Show all settings, or only those that differ."""
        self.view.all_settings = not self.view.all_settings
        self._lay_out(*self.size)

    def action_toggle_groups(self) -> None:
        """Show runs that differ in the seed alone as mean and range, or singly."""
        self.view.is_grouped = not self.view.is_grouped
        self._lay_out(*self.size)

    def action_next(self) -> None:
        """Go to the other list, if there is room for both."""
        other = self.settings if self.focused is self.runs else self.runs
        if other.display:
            self.set_focus(other)

    def action_back(self) -> None:
        """Go to the menu."""
        self.post_message(self.CloseRequested(self))

    action_leave = action_back

    def redraw(self) -> None:
        """Draw all parts again."""
        for part in (self.chart, self.runs, self.settings):
            part.redraw()

    async def _follow(self) -> None:
        """Read the runs, and live ones again as long as the screen is shown."""
        runs = await asyncio.to_thread(lambda: [read_compared(record) for record in self._records])
        self._show(Comparison(runs))
        while any(run.record.is_live for run in runs):
            begun = time.perf_counter()
            await asyncio.sleep(REFRESH_SECONDS)
            if not self.is_current:
                continue
            runs = await asyncio.to_thread(_read_again, runs)
            self._show(Comparison(runs))
            took = time.perf_counter() - begun - REFRESH_SECONDS
            await asyncio.sleep(max(0.0, REST * took - REFRESH_SECONDS))

    def _show(self, comparison: Comparison) -> None:
        is_first = not self.view.comparison.runs
        self.view.take(comparison)
        if is_first:
            self._lay_out(*self.size)
        self.redraw()

    def _lay_out(self, width: int, height: int) -> None:
        """Give each part its rows: the runs what they need, and at least half of the rest to the chart."""
        boxed = width >= 100 and height >= 30
        frame = 2 if boxed else 1
        room = height - 1
        run_rows = min(self.runs.needed + frame, max(0, room - LEAST_CHART))
        rest = room - run_rows
        settings = min(self.settings.needed + frame, rest // 2) if rest >= 2 * LEAST_CHART else 0
        heights = (rest - settings, run_rows, settings)
        for part, rows in zip((self.chart, self.runs, self.settings), heights, strict=True):
            part.boxed = boxed
            part.styles.height = rows
            part.display = rows > 0
            part.redraw()


def _read_again(runs: Sequence[ComparedRun]) -> list[ComparedRun]:
    """Read the live ones of some runs again."""
    return [read_compared(run.record) if run.record.is_live else run for run in runs]


class CompareChart(FramedLines):
    """The curves of one metric."""

    def __init__(self, view: CompareView) -> None:
        super().__init__()
        self._view = view
        self.columns = 1
        self.is_log = False
        self._scale = ""

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the frame and the curves."""
        view = self._view
        inner, rows = inner_size(width, height, boxed=self.boxed)
        body: list[Line] = [[(" reading the runs...", "faint")]]
        if view.comparison.runs:
            drawn = draw_charts(view, inner, rows, plot_style(self))
            body, self.columns = drawn.lines, drawn.columns
            self.is_log, self._scale = drawn.is_log, drawn.scale
        title: Line = [
            ("compare  ", "bold strong"),
            (Hint.of(printable(view.metric), "compare_metric"), "text"),
        ]
        toggles = (
            (Hint.of("y", "compare_log"), self._scale),
            (Hint.of("smooth", "compare_smooth"), str(view.smoothing or "off")),
            (Hint.of("x", "compare_unit"), view.unit),
        )
        return framed(body, width, height, title, toggle_hints(toggles), has_focus=False, boxed=self.boxed)

    def on_click(self, event: Click) -> None:
        """Put the cursor under the pointer, unless that is on the upper edge."""
        if event.y > 0:
            self._point(event.x)

    def on_mouse_move(self, event: MouseMove) -> None:
        """Drag the cursor."""
        if event.button and event.y > 0:
            self._point(event.x)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Zoom in around the pointer."""
        self._zoom(1 / ZOOM, event.x)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Zoom out around the pointer."""
        self._zoom(ZOOM, event.x)

    def _zoom(self, factor: float, x: int) -> None:
        self._view.zoom(factor, self._position(x))
        self._redraw_all()

    def _point(self, x: int) -> None:
        self._view.set_cursor(self._position(x))
        self._redraw_all()

    def _position(self, x: int) -> float:
        """Return the position on the x axis of a column of the widget."""
        inner, _ = inner_size(self.size.width, 3, boxed=self.boxed)
        gutter, columns = plot_place(inner)
        first, last = self._view.span
        column = min(max(0, x - gutter - self.boxed), columns - 1)
        return first + (column + 0.5) * (last - first) / columns

    def _redraw_all(self) -> None:
        screen = self.screen
        if isinstance(screen, CompareScreen):
            screen.redraw()
