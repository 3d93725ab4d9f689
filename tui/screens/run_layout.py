"""The run screen's layout, and when which part of it is drawn again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from textual import work
from textual.app import ComposeResult
from textual.events import Click, Resize
from textual.geometry import Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.line_speed import bytes_sent
from torchconsole.tui.pane_names import PANES, RANKS
from torchconsole.tui.process import is_remote
from torchconsole.tui.screens.keyed import KeyedScreen
from torchconsole.tui.screens.run_plan import Contents, Rooms, Stage, plan, stage_of
from torchconsole.tui.state import ConsoleState, Notice
from torchconsole.tui.user_keys import key_named
from torchconsole.tui.widgets.banner import Banner, banner_lines
from torchconsole.tui.widgets.charts import CHART_SETTINGS, Charts
from torchconsole.tui.widgets.device_panel import DevicePanel, device_rows
from torchconsole.tui.widgets.early_stopping import EarlyStoppingPanel, uses_early_stopping
from torchconsole.tui.widgets.footer import KeyBar
from torchconsole.tui.widgets.header import HeaderLine
from torchconsole.tui.widgets.lines import CachedRender
from torchconsole.tui.widgets.message_line import MessageLine
from torchconsole.tui.widgets.metrics_panels import MetricsPanel
from torchconsole.tui.widgets.panes import create_panes
from torchconsole.tui.widgets.side_panels import CheckpointsPanel, ClassesPanel

SHORTEST_SECONDS, LONGEST_SECONDS, COSTLY_SECONDS = 0.2, 0.5, 2.0
"""Between two refreshes; the last one where they are costly: many metrics on a large screen."""

SHORTEST_REMOTE_SECONDS = 0.3
"""Between two refreshes over SSH."""

REMOTE_BYTES, REMOTE_LIMIT_SECONDS = 2500, 1.0
"""Bytes per second that refreshes over SSH may send, unless they must wait longer than this for it."""

CPU_SHARE = 0.04
"""Share of a core that refreshes faster than COSTLY_SECONDS may take."""

IDLE_CORES = 0.5
"""With more unused cores than this, one counts as idle. The rest may be what the console itself uses."""

_WIDGETS = {
    "line": "header",
    "metrics": "metrics-panel",
    "stopping": "stopping-panel",
    "device": "device-panel",
    "classes": "classes-panel",
    "checkpoints": "checkpoints-panel",
}
"""Room of the plan -> id of the widget in it, where they differ. The room `pane` is for the open pane."""

_PANE_OF_PANEL = {
    "device-panel": "device",
    "classes-panel": "classes",
    "checkpoints-panel": "checkpoints",
    "log": "log",
}

RANKS_ROWS = 5
"""Rows of the ranks beside one for each: the frame, what there is to say about them, and the headings."""

_ANSWER_PARTS = ("header", "message", "keys")
"""The parts that show the answer to a key. They are drawn at once, however slow the connection is."""


class RefreshRate:
    """Decides how often to refresh, from what was used since the last time: CPU time, and bytes over SSH."""

    def __init__(self) -> None:
        self._process_time = time.process_time()
        self._sent = 0
        self._is_remote = is_remote()

    def seconds(self, run: RunState, sent: int) -> float:
        """Return the time from the start of a refresh that has just ended to the next one's start.

        `sent` is how many bytes were sent to the terminal so far.
        """
        before, self._process_time = self._process_time, time.process_time()
        sent_before, self._sent = self._sent, sent
        shortest = SHORTEST_SECONDS
        if self._is_remote:
            by_bytes = min(REMOTE_LIMIT_SECONDS, (sent - sent_before) / REMOTE_BYTES)
            shortest = max(SHORTEST_REMOTE_SECONDS, by_bytes)
        if not has_idle_core(run):
            shortest = max(shortest, LONGEST_SECONDS)
        return min(COSTLY_SECONDS, max(shortest, (self._process_time - before) / CPU_SHARE))


def has_idle_core(run: RunState) -> bool:
    """Return whether the machine has an idle core, according to the worker's last telemetry."""
    if run.telemetry is None or run.telemetry.cpu_percent is None or run.device is None:
        return True
    return run.device.cpu_count * (1 - run.telemetry.cpu_percent / 100) >= IDLE_CORES


class PlannedLayout(Layout):
    """Places each widget in the room that the plan gives its id."""

    name = "planned"

    def __init__(self) -> None:
        self.rooms: Rooms = {}

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        """Place the children (called by Textual)."""
        parent.pre_layout(self)
        placed = [(child, self.rooms[child.id or ""]) for child in children if child.id in self.rooms]
        return [
            WidgetPlacement(room, child.styles.offset.resolve(size, size), child.styles.margin, child, order)
            for order, (child, room) in enumerate(placed)
        ]


class RunLayout(KeyedScreen, CachedRender):
    """Shows a `ConsoleState`. Call `show_change` after each change of it."""

    AUTO_FOCUS = ""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self.state = state
        self.pane = "charts"
        self.enlarged = False
        self._panes = create_panes(state)
        self._parts: dict[str, Widget] = {
            "header": HeaderLine(state),
            "banner": Banner(state),
            "message": MessageLine(state),
            "charts": Charts(state),
            "metrics-panel": MetricsPanel(state),
            "stopping-panel": EarlyStoppingPanel(state),
            "device-panel": DevicePanel(state),
            "classes-panel": ClassesPanel(state),
            "checkpoints-panel": CheckpointsPanel(state),
            **self._panes,
            "keys": KeyBar(state),
        }
        self._stale: dict[str, None] = {}
        self._has_changed = asyncio.Event()
        self._refresh_rate = RefreshRate()
        self._shown_notice = Notice()
        self._is_remote = is_remote()
        self._planned = PlannedLayout()
        self._planned_for: tuple[Size, Contents] | None = None
        self._device_rows = (0, 0)

    @property
    def layout(self) -> Layout:
        """The layout of the parts (used by Textual)."""
        return self._planned

    def compose(self) -> ComposeResult:
        """Create all parts; the plan says which of them are shown, and where."""
        for name, widget in self._parts.items():
            if widget.id is None:
                widget.id = name
            if name in self._panes:
                widget.border_title = PANES.get(name, name)
            yield widget

    def on_mount(self) -> None:
        """Start to refresh the screen."""
        self._arrange()
        self._refresh_when_stale()
        self.set_interval(1, self._update_seconds)

    def on_resize(self, event: Resize) -> None:
        """Find a new place for every part."""
        self._arrange()

    def on_click(self, event: Click) -> None:
        """Open the pane of a panel that is clicked twice."""
        pane = _PANE_OF_PANEL.get(event.widget.id or "") if event.widget else None
        if pane and event.chain == 2 and self.pane == "charts":
            self.open_pane(pane)

    def on_screen_resume(self) -> None:
        """Show what has changed below a dialog."""
        if self._stale:
            self.show_change()

    def open_pane(self, name: str) -> None:
        """Open a pane, or enlarge the open one if it can grow, or give it its usual place again."""
        self.enlarged = name == self.pane and not self.enlarged and self._can_grow
        self._choose_pane(name)

    def close_pane(self) -> None:
        """Go one step back: from an enlarged pane to its usual place, from there to the charts."""
        if not (self.enlarged and (self.is_chart_mode or self._can_grow)):
            self.pane = "charts"
        self.enlarged = False
        self._choose_pane(self.pane)

    def open_next_pane(self) -> None:
        """Open the pane after the open one, or the first after the last."""
        names = [*PANES, RANKS] if self.has_ranks else list(PANES)
        self._choose_pane(names[(names.index(self.pane) + 1) % len(names)])

    @property
    def charts(self) -> Charts:
        """The charts."""
        charts = self._parts["charts"]
        assert isinstance(charts, Charts)
        return charts

    @property
    def has_ranks(self) -> bool:
        """Whether several processes train the run."""
        return self.state.run.processes > 1

    @property
    def is_chart_mode(self) -> bool:
        """Whether the charts are enlarged, with a cursor and keys of their own."""
        return self.pane == "charts" and self.enlarged

    @property
    def _can_grow(self) -> bool:
        """Whether the open pane is smaller than it could be; on small terminals, it takes all room anyway."""
        size = self.app.size
        usual, large = (replace(self._contents(size), enlarged=enlarged) for enlarged in (False, True))
        return plan(*size, usual) != plan(*size, large)

    def toggle_chart_mode(self) -> None:
        """Enlarge the charts, or give them their usual place again."""
        self.enlarged = not self.is_chart_mode
        self._choose_pane("charts")

    def perform_on_charts(self, action: str) -> None:
        """Do what a key of the charts asks for; keys for cursor and window work in the chart mode only."""
        if self.pane == "charts" and (self.enlarged or action in CHART_SETTINGS):
            self.charts.perform(action)

    def _choose_pane(self, name: str) -> None:
        """Show a pane and give it the focus, so that its keys work; the charts need none."""
        self.pane = name
        self.charts.set_mode(self.is_chart_mode)
        self._arrange()
        widget = self._parts[name]
        self.set_focus(widget if widget.can_focus else None)
        self.show_change()

    def show_change(self) -> None:
        """Show the changed state: the answer to a key at once, the rest with the next refresh."""
        self._stale |= dict.fromkeys(self._planned.rooms)
        if not self._is_covered and self.state.notice is not self._shown_notice:
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
        """Draw the parts that are next. Return the seconds from now until the next refresh.

        All parts are drawn together, so that no two of them show different values of one metric.
        """
        self._arrange()
        self._redraw(list(self._stale))
        self._stale.clear()
        return self._refresh_rate.seconds(self.state.run, bytes_sent(self.app))

    def _redraw(self, parts: Sequence[str]) -> None:
        """Draw these parts as far as they are shown."""
        # The timers of a screen that is being removed outlive its widgets.
        if not (self.is_attached and self.display):
            return
        widgets = [self._parts[part] for part in parts if part in self._planned.rooms]
        with self.app.batch_update():
            for widget in widgets:
                widget.redraw()  # type: ignore[attr-defined]

    def _arrange(self) -> None:
        """Plan the rooms again if the size of the terminal or what is shown has changed."""
        size = self.app.size
        contents = self._contents(size)
        if not (self.is_attached and size.area) or self._planned_for == (size, contents):
            return
        self._planned_for = size, contents
        stage = stage_of(*size)
        rooms = plan(*size, contents)
        placed = {_WIDGETS.get(room, room): region for room, region in rooms.items() if room != "pane"}
        if "pane" in rooms:
            placed[contents.pane] = rooms["pane"]
        with self.app.batch_update():
            self._planned.rooms = placed
            self.set_class(stage in ("normal", "large"), "-framed")
            for name, widget in self._parts.items():
                if hasattr(widget, "stage"):
                    widget.stage = stage
                widget.display = name in placed
            self._message.pane = self.pane
            # Only a child makes Textual forget how the children were arranged.
            self._message.refresh(layout=True)
        self.call_after_refresh(self._redraw, list(placed))

    @property
    def _message(self) -> MessageLine:
        message = self._parts["message"]
        assert isinstance(message, MessageLine)
        return message

    def _contents(self, size: Size) -> Contents:
        stage = stage_of(*size)
        state = self.state
        return Contents(
            pane=self.pane,
            enlarged=self.enlarged,
            pane_rows=RANKS_ROWS + state.run.processes if self.pane == RANKS else 0,
            banner_rows=len(banner_lines(state, size.width, partial(key_named, self.app))),
            has_stopping=uses_early_stopping(state),
            device_rows=self._rows_of_device(stage, size),
            has_failed=state.run.status == "failed" and not state.user_error,
        )

    def _rows_of_device(self, stage: Stage, size: Size) -> int:
        """Return the rows that the device panel needs, or has needed before: so nothing jumps."""
        rows = device_rows(self.state, stage)
        key = hash((size, self.state.has_ended, self.state.run.telemetry is None))
        if self._device_rows[0] == key:
            rows = max(rows, self._device_rows[1])
        self._device_rows = key, rows
        return rows

    def _update_seconds(self) -> None:
        """Update the seconds of a slow phase or a silence, and ages; remove a message that is old news."""
        if self.state.slow_phase or self.state.silence:
            self.show_change()
        elif not self._is_covered:
            self._redraw(("message", "checkpoints"))
