"""The run screen: watches one run through its client and steers it. It says what the run says, never more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.events import Resize
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.actions import ACTIONS
from torchconsole.tui.process import is_remote
from torchconsole.tui.refresh_rate import RefreshRate
from torchconsole.tui.run_session import OpenClient, RunSession
from torchconsole.tui.screens.dialogs import HelpScreen, LeaveScreen, StopScreen
from torchconsole.tui.screens.lr_dialog import LearningRateScreen
from torchconsole.tui.screens.palette import RunActions
from torchconsole.tui.state import ConsoleState, Notice
from torchconsole.tui.wait_until_live import wait_until_live
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

LR_STEP = 10**0.25
WIDE, TALL = 110, 34
"""Columns and rows from which there is room to show all panes side by side."""

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
"""These cost more than the lines above and below them: they take turns, one with each refresh."""

_ANSWERS: tuple[_Part, ...] = (StatusLine, NoticeLine, KeyBar)
"""Where an answer to the user is seen: drawn at once, however slow the line is."""


class Upper(Horizontal, CachedRender):
    """The charts, and the panels beside them."""


class Panels(VerticalScroll, CachedRender):
    """One below the other."""


class RunScreen(Screen[None], CachedRender):
    """Shows one run. The app decides what becomes of the screen when one of its messages arrives."""

    BINDINGS = [action.binding for action in ACTIONS]
    COMMANDS = {RunActions}
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (READABLE_WIDTH, "-narrow"), (WIDE, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (READABLE_HEIGHT, "-short"), (TALL, "-tall")]

    @dataclass
    class Left(Message):
        """The user leaves the run, whether it goes on or has ended."""

        screen: RunScreen

    @dataclass
    class ResumeWanted(Message):
        """The user wants a run that has ended to go on from its last checkpoint."""

        folder: Path

    def __init__(self, open_client: OpenClient, folder: Path, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._folder = folder
        self._stale: dict[_Part, None] = {}
        self._behind = asyncio.Event()
        self._pace = RefreshRate()
        self._shown_notice = Notice()
        self._is_remote = is_remote()
        self._leaves_at_end = False
        self.state = ConsoleState(RunState(name=folder.name, folder=str(folder)), clock=clock)
        self._link = RunSession(open_client, self.state, self._changed)

    def compose(self) -> ComposeResult:
        """From top to bottom."""
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
        """Connect; a slow phase or a silence counts its seconds meanwhile."""
        self._follow()
        self._keep_up()
        self.set_interval(1, self._count_seconds)

    def on_resize(self, event: Resize) -> None:
        """Choose between tabs and panes side by side."""
        self.query_one(Panes).tabbed = event.size.width < WIDE or event.size.height < TALL

    @work(exclusive=True, group="follow")
    async def _follow(self) -> None:
        """Follow the run to its end, and beyond when somebody resumes it elsewhere."""
        await self._link.follow()
        while not (self._leaves_at_end or self.state.run.is_live) and await wait_until_live(
            RunFolder(self._folder)
        ):
            await self._link.follow()
        if self._leaves_at_end:
            while self.app.screen is not self:
                await self.app.pop_screen()
            self._leave()

    @property
    def refresh_is_due(self) -> bool:
        """Whether the screen is behind the state, and may catch up.

        What changes below a dialog has the whole terminal drawn anew: over SSH it waits for the dialog's end.
        """
        return bool(self._stale) and not (self._is_remote and self._is_covered)

    @property
    def _is_covered(self) -> bool:
        return self not in self.app.screen_stack[-1:]

    def on_screen_resume(self) -> None:
        """Catch up with what happened below a dialog."""
        if self._stale:
            self._changed()

    def _changed(self) -> None:
        """Have the screen show the state soon: at once when it was still, else with the next refresh."""
        self._stale |= dict.fromkeys(_PARTS)
        if self._is_remote and not self._is_covered and self.state.notice is not self._shown_notice:
            self._shown_notice = self.state.notice
            self._redraw(_ANSWERS)
        self._behind.set()

    @work(group="refresh")
    async def _keep_up(self) -> None:
        """Refresh the screen while it is behind the state, as often as that may be."""
        while await self._behind.wait():
            # What has come together is shown together.
            await asyncio.sleep(0.001)
            self._behind.clear()
            while self.refresh_is_due:
                begun = time.monotonic()
                seconds = self._refresh()
                await asyncio.sleep(begun + seconds - time.monotonic())

    def _refresh(self) -> float:
        """Draw what is next. Returns the seconds that are to pass until the next time."""
        parts = self._next_parts()
        drawn = self._redraw(parts)
        for part in parts:
            del self._stale[part]
        return self._pace.seconds(drawn, self.state.run)

    def _next_parts(self) -> list[_Part]:
        """Those that have waited longest come first.

        Over SSH one part at a time: an answer to the user must not wait behind a whole screen.
        """
        stale = list(self._stale)
        if self._is_remote:
            return stale[:1]
        turn = next((_TURNS[part] for part in stale if part in _TURNS), None)
        return [part for part in stale if _TURNS.get(part, turn) == turn]

    def _redraw(self, parts: Sequence[_Part]) -> list[Widget]:
        """Draw these parts again."""
        # A screen that is being removed has timers for longer than it has parts.
        if not (self.is_attached and self.display):
            return []
        widgets: list[Widget] = []
        with self.app.batch_update():
            for part in parts:
                widget = self.query_one(part)
                widget.redraw()
                widgets.append(widget)
        return widgets

    def _count_seconds(self) -> None:
        if self.state.slow_phase or self.state.silence:
            self._changed()

    def _refuses(self, verb: str) -> bool:
        """Whether no command can reach the run; if so, it is said why."""
        if not self.state.is_steerable:
            self._link.refuse(verb)
        return not self.state.is_steerable

    def _send(self, command: cmd.Command, verb: str) -> None:
        if not self._refuses(verb):
            self.run_worker(self._link.send(command), group="commands")

    def _leave(self) -> None:
        """Tell the app that this screen is done with."""
        self.post_message(self.Left(self))

    def action_toggle_pause(self) -> None:
        """Pause, or end a pause."""
        if self.state.wants_pause:
            self._send(cmd.UnpauseRun(), "unpause")
        else:
            self._send(cmd.PauseRun(), "pause")

    def action_lower_lr(self) -> None:
        """A quarter decade down."""
        self._send(cmd.SetLearningRate(factor=1 / LR_STEP), "change")

    def action_raise_lr(self) -> None:
        """A quarter decade up."""
        self._send(cmd.SetLearningRate(factor=LR_STEP), "change")

    async def action_type_lr(self) -> None:
        """Ask for an lr."""

        def typed(command: LearningRateCommand | None) -> None:
            if command is not None:
                self._send(command, "change")

        if not self._refuses("change"):
            await self.app.push_screen(LearningRateScreen(self.state), typed)

    def action_toggle_hold(self) -> None:
        """Hold the lr where it is, or give it back to the schedule."""
        if self.state.wants_hold:
            self._send(cmd.ReleaseLearningRate(), "release")
        else:
            self._send(cmd.HoldLearningRate(), "hold")

    def action_save(self) -> None:
        """Save a checkpoint."""
        self._send(cmd.SaveCheckpoint(), "save")

    def action_evaluate(self) -> None:
        """Evaluate now."""
        self._send(cmd.RunEvaluation(), "evaluate")

    async def action_stop(self) -> None:
        """Ask, then stop."""
        if not self._refuses("stop"):
            await self.app.push_screen(StopScreen(self.state.run.name), self._answered)

    def action_detach(self) -> None:
        """Leave the run going."""
        if self.state.is_heard or not self._refuses("detach from"):
            self._leave()

    async def action_leave(self) -> None:
        """Ask what becomes of a live run; a run that has ended is just left."""
        if self.state.is_steerable:
            await self.app.push_screen(LeaveScreen(self.state.run.name), self._answered)
        else:
            self._leave()

    def _answered(self, choice: str | None) -> None:
        """Do what was chosen in the question about stopping or leaving."""
        if choice == "detach" or (choice == "stop-and-leave" and not self.state.is_steerable):
            self._leave()
        elif choice is not None:
            self._leaves_at_end = choice == "stop-and-leave"
            self._send(cmd.StopRun(), "stop")

    def action_resume(self) -> None:
        """Have a run that ended early go on."""
        if self.state.can_resume:
            self.post_message(self.ResumeWanted(self._folder))
        else:
            self._link.refuse("resume")

    def action_reattach(self) -> None:
        """Connect again, also to a run that has ended: somebody may have resumed it."""
        if self.state.connection == "closed" or not self.state.run.is_live:
            self._follow()

    def action_show_pane(self, pane: str) -> None:
        """Show one of the lower panes."""
        self.query_one(Panes).choose(pane)

    def action_next_pane(self) -> None:
        """Show the next of the lower panes."""
        self.query_one(Panes).choose_next()

    async def action_help(self) -> None:
        """Show what the keys do."""
        await self.app.push_screen(HelpScreen(ACTIONS))
