"""The run screen: follows one run and steers it. It shows a change only once the engine has confirmed it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.message import Message

from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.actions import ACTIONS, ActionProvider
from torchconsole.tui.run_session import OpenClient, RunSession, wait_until_live
from torchconsole.tui.screens.dialogs import HelpScreen, LeaveScreen, StopScreen
from torchconsole.tui.screens.lr_dialog import LearningRateScreen
from torchconsole.tui.screens.run_layout import RunLayout
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.panes import Panes

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun

LR_FACTOR = 10**0.25


class RunScreen(RunLayout):
    """Shows one run, and does what its keys ask for. The app handles the messages that it posts."""

    BINDINGS = [action.binding for action in ACTIONS]
    COMMANDS = {ActionProvider}

    @dataclass
    class CloseRequested(Message):
        """The user leaves the screen. The run may be live or ended."""

        screen: RunScreen

    @dataclass
    class ResumeRequested(Message):
        """The user wants to resume an ended run from its last checkpoint."""

        folder: Path

    def __init__(
        self,
        open_client: OpenClient,
        folder: Path,
        started: StartedRun | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(ConsoleState(RunState(name=folder.name, folder=str(folder)), clock=clock))
        self._session = RunSession(open_client, self.state, self.show_change, started)
        self._is_ours = started is not None
        self._closes_at_end = False

    def on_mount(self) -> None:
        """Connect to the run."""
        self._follow()

    @work(exclusive=True, group="follow")
    async def _follow(self) -> None:
        """Follow the run until it ends, and again if somebody resumes it elsewhere."""
        await self._session.follow()
        if self._is_ours and self.state.can_start_anyway:
            # The app shows the findings, and asks whether to start anyway.
            self._closes_at_end = True
        while not (self._closes_at_end or self.state.run.is_live) and await wait_until_live(
            RunFolder(Path(self.state.run.folder))
        ):
            await self._session.follow()
        if self._closes_at_end:
            while self.app.screen is not self:
                await self.app.pop_screen()
            self._close()

    def _close(self) -> None:
        self.post_message(self.CloseRequested(self))

    def _check_steerable(self, verb: str) -> bool:
        """Return whether the run takes commands; if not, show why it cannot `verb`."""
        if not self.state.is_steerable:
            self._session.refuse(verb)
        return self.state.is_steerable

    def _send(self, command: cmd.Command, verb: str) -> None:
        if self._check_steerable(verb):
            self.run_worker(self._session.send(command), group="commands")

    def action_toggle_pause(self) -> None:
        """Pause or unpause the run."""
        if self.state.wants_pause:
            self._send(cmd.UnpauseRun(), "unpause")
        else:
            self._send(cmd.PauseRun(), "pause")

    def action_lower_lr(self) -> None:
        """Multiply the lr by 0.56; four times make a factor of 0.1."""
        self._send(cmd.SetLearningRate(factor=1 / LR_FACTOR), "change the lr")

    def action_raise_lr(self) -> None:
        """Multiply the lr by 1.78; four times make a factor of 10."""
        self._send(cmd.SetLearningRate(factor=LR_FACTOR), "change the lr")

    async def action_type_lr(self) -> None:
        """Ask for an lr and set it."""

        def on_answer(command: LearningRateCommand | None) -> None:
            if command is not None:
                self._send(command, "change the lr")

        if self._check_steerable("change the lr"):
            await self.app.push_screen(LearningRateScreen(self.state), on_answer)

    def action_toggle_hold(self) -> None:
        """Hold the current lr, or release it to the schedule."""
        if self.state.wants_hold:
            self._send(cmd.ReleaseLearningRate(), "release the lr")
        else:
            self._send(cmd.HoldLearningRate(), "hold the lr")

    def action_save(self) -> None:
        """Save a checkpoint."""
        self._send(cmd.SaveCheckpoint(), "save")

    def action_evaluate(self) -> None:
        """Evaluate on the validation data."""
        self._send(cmd.RunEvaluation(), "evaluate")

    async def action_stop(self) -> None:
        """Ask for confirmation, then stop the run."""
        if self._check_steerable("stop"):
            await self.app.push_screen(StopScreen(self.state.run.name), self._on_leave_or_stop)

    def action_detach(self) -> None:
        """Close the screen and let the run continue."""
        if self.state.is_connected:
            self._close()
        else:
            self._session.refuse("detach")

    async def action_leave(self) -> None:
        """Ask what to do with a live run. Close the screen of an ended or read-only one."""
        if self.state.is_steerable:
            await self.app.push_screen(LeaveScreen(self.state.run.name), self._on_leave_or_stop)
        else:
            self._close()

    def _on_leave_or_stop(self, choice: str | None) -> None:
        """Do what the user chose in the stop or leave dialog."""
        if choice == "detach" or (choice == "stop-and-leave" and not self.state.is_steerable):
            self._close()
        elif choice is not None:
            self._closes_at_end = choice == "stop-and-leave"
            self._send(cmd.StopRun(), "stop")

    def action_resume(self) -> None:
        """Resume a run that ended early."""
        if self.state.can_resume:
            self.post_message(self.ResumeRequested(Path(self.state.run.folder)))
        else:
            self._session.refuse("resume")

    def action_reattach(self) -> None:
        """Connect again. This also works for an ended run, which somebody may have resumed."""
        if self.state.connection == "closed" or not self.state.run.is_live:
            self._follow()

    def action_show_pane(self, pane: str) -> None:
        """Show one of the lower panes."""
        self.query_one(Panes).choose(pane)

    def action_next_pane(self) -> None:
        """Show the next of the lower panes."""
        self.query_one(Panes).choose_next()

    async def action_help(self) -> None:
        """Show the help."""
        await self.app.push_screen(HelpScreen(ACTIONS))
