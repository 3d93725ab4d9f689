"""The run screen's layout, and when which part of it is drawn again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.events import Resize
from textual.screen import Screen
from textual.widget import Widget

from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.process import REMOTE_CELLS_PER_SECOND, is_remote
from torchconsole.tui.state import ConsoleState, Notice
from torchconsole.tui.widgets.charts import Charts, LearningRateChart, LossChart
from torchconsole.tui.widgets.device_panel import DevicePanel
from torchconsole.tui.widgets.footer import KeyBar, NoticeLine
from torchconsole.tui.widgets.header import (
    READABLE_HEIGHT,
    READABLE_WIDTH,
    EndBanner,
    ProgressLine,
    StatusLine,
    TooSmall,
)
from torchconsole.tui.widgets.lines import CachedRender, LineWidget
from torchconsole.tui.widgets.metrics_panels import EarlyStoppingPanel, MetricsPanel
from torchconsole.tui.widgets.panes import Panes

WIDE, TALL = 110, 34
"""Smallest terminal, in columns and rows, that shows the panes side by side."""

SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 0.2
"""Between two refreshes of a local terminal. Parts that take turns are drawn by every second refresh."""

CPU_SHARE = 0.045
"""Share of a core that refreshes faster than LONGEST_SECONDS may take."""

IDLE_CORES = 0.5
"""With more unused cores than this, one counts as idle. The rest may be what the console itself uses."""

_Part = type[LineWidget | MetricsPanel | Panes]

_PARTS: tuple[_Part, ...] = (
    StatusLine,
    ProgressLine,
    EndBanner,
    LossChart,
    LearningRateChart,
    MetricsPanel,
    EarlyStoppingPanel,
    DevicePanel,
    Panes,
    NoticeLine,
    KeyBar,
)

_TURNS: dict[_Part, int] = {
    LossChart: 0,
    LearningRateChart: 1,
    MetricsPanel: 1,
    EarlyStoppingPanel: 1,
    DevicePanel: 1,
    Panes: 1,
}
"""The expensive parts. Each refresh draws those of one turn; the lines above and below are always drawn."""

_ANSWER_PARTS: tuple[_Part, ...] = (StatusLine, NoticeLine, KeyBar)
"""The parts that show the answer to a key. They are drawn at once, however slow the connection is."""


class RefreshRate:
    """Decides how often to refresh, from the CPU time of this process between two refreshes."""

    def __init__(self) -> None:
        self._process_time = time.process_time()

    def seconds(self, drawn: Sequence[Widget], run: RunState) -> float:
        """Return the time from the start of the refresh that drew these widgets to the next one's start."""
        before, self._process_time = self._process_time, time.process_time()
        if is_remote():
            return sum(widget.size.area for widget in drawn) / REMOTE_CELLS_PER_SECOND
        if not has_idle_core(run):
            return LONGEST_SECONDS
        return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, (self._process_time - before) / CPU_SHARE))


def has_idle_core(run: RunState) -> bool:
    """Return whether the machine has an idle core, according to the worker's last telemetry."""
    if run.telemetry is None or run.telemetry.cpu_percent is None or run.device is None:
        return True
    return run.device.cpu_count * (1 - run.telemetry.cpu_percent / 100) >= IDLE_CORES


class Upper(Horizontal, CachedRender):
    """The charts, and the panels to their right."""


class Panels(VerticalScroll, CachedRender):
    """The panels, one below the other."""


class RunLayout(Screen[None], CachedRender):
    """Shows a `ConsoleState`. Call `show_change` after each change of it."""

    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (READABLE_WIDTH, "-narrow"), (WIDE, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (READABLE_HEIGHT, "-short"), (TALL, "-tall")]

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self.state = state
        self._stale: dict[_Part, None] = {}
        self._has_changed = asyncio.Event()
        self._refresh_rate = RefreshRate()
        self._shown_notice = Notice()
        self._is_remote = is_remote()

    def compose(self) -> ComposeResult:
        """Lay out the screen from top to bottom."""
        yield StatusLine(self.state)
        yield ProgressLine(self.state)
        yield EndBanner(self.state)
        with Upper(id="upper"):
            yield Charts(self.state)
            with Panels(id="panels", can_focus=False):
                yield MetricsPanel(self.state)
                yield EarlyStoppingPanel(self.state)
                yield DevicePanel(self.state)
        yield Panes(self.state)
        yield NoticeLine(self.state)
        yield KeyBar(self.state)
        yield TooSmall()

    def on_mount(self) -> None:
        """Start to refresh the screen."""
        self._refresh_when_stale()
        self.set_interval(1, self._update_seconds)

    def on_resize(self, event: Resize) -> None:
        """Choose between tabs and panes side by side."""
        self.query_one(Panes).tabbed = event.size.width < WIDE or event.size.height < TALL

    def on_screen_resume(self) -> None:
        """Show what has changed below a dialog."""
        if self._stale:
            self.show_change()

    def show_change(self) -> None:
        """Show the changed state: at once if the screen was up to date, else with the next refresh."""
        self._stale |= dict.fromkeys(_PARTS)
        if self._is_remote and not self._is_covered and self.state.notice is not self._shown_notice:
            self._shown_notice = self.state.notice
            self._redraw(_ANSWER_PARTS)
        self._has_changed.set()

    @property
    def refresh_is_due(self) -> bool:
        """Whether parts of the screen are stale and may be drawn.

        A change below a dialog makes Textual draw the whole screen. Over SSH it waits for the dialog's end.
        """
        return bool(self._stale) and not (self._is_remote and self._is_covered)

    @property
    def _is_covered(self) -> bool:
        return self not in self.app.screen_stack[-1:]

    @work(group="refresh")
    async def _refresh_when_stale(self) -> None:
        while await self._has_changed.wait():
            # Let events that arrive together be shown together.
            await asyncio.sleep(0.001)
            self._has_changed.clear()
            while self.refresh_is_due:
                start = time.monotonic()
                seconds = self._refresh_next_parts()
                await asyncio.sleep(start + seconds - time.monotonic())

    def _refresh_next_parts(self) -> float:
        """Draw the parts that are next. Return the seconds from now until the next refresh."""
        parts = self._next_parts()
        drawn = self._redraw(parts)
        for part in parts:
            del self._stale[part]
        return self._refresh_rate.seconds(drawn, self.state.run)

    def _next_parts(self) -> list[_Part]:
        """Return the parts to draw next; those that have waited longest come first.

        Over SSH it is one part at a time, so that the answer to a key never waits behind a whole screen.
        """
        stale = list(self._stale)
        if self._is_remote:
            return stale[:1]
        turn = next((_TURNS[part] for part in stale if part in _TURNS), None)
        return [part for part in stale if _TURNS.get(part, turn) == turn]

    def _redraw(self, parts: Sequence[_Part]) -> list[Widget]:
        """Draw these parts, and return their widgets."""
        # The timers of a screen that is being removed outlive its widgets.
        if not (self.is_attached and self.display):
            return []
        widgets: list[Widget] = []
        with self.app.batch_update():
            for part in parts:
                widget = self.query_one(part)
                widget.redraw()
                widgets.append(widget)
        return widgets

    def _update_seconds(self) -> None:
        """Update the seconds of a slow phase or a silence."""
        if self.state.slow_phase or self.state.silence:
            self.show_change()
