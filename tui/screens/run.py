"""The run screen: follows one run and steers it. It shows a change only once the engine has confirmed it."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.message import Message

from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.attention import SeenRun
from torchconsole.tui.keys import (
    CHARTS,
    EVERYWHERE,
    PANE_LISTS,
    PANES,
    RANKS,
    RUN_KEYS,
    STEERING,
    Action,
    available,
    bindings,
)
from torchconsole.tui.lr_guard import LrGuard
from torchconsole.tui.pane_names import RANKS as RANKS_PANE
from torchconsole.tui.run_session import OpenClient, RunSession, wait_until_live
from torchconsole.tui.screens.dialogs import ChoiceScreen, LargeLrChangeScreen, LeaveScreen, StopScreen
from torchconsole.tui.screens.lr_dialog import LearningRateScreen
from torchconsole.tui.screens.metric_chooser import MetricChooser
from torchconsole.tui.screens.run_layout import RunLayout
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.themed_app import config_of, remember
from torchconsole.tui.widgets.log_pane import LogPane
from torchconsole.tui.widgets.model_pane import ModelPane
from torchconsole.tui.widgets.rows_pane import RowsPane
from torchconsole.tui.widgets.searched_rows import SearchedRows

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.config.schema import Preset

LR_FACTOR = 10**0.25


class RunScreen(RunLayout):
    """Shows one run, and does what its keys ask for. The app handles the messages that it posts."""

    SECTIONS = RUN_KEYS
    BINDINGS = bindings(STEERING, PANES, RANKS, CHARTS, EVERYWHERE)

    @dataclass
    class CloseRequested(Message):
        """The user leaves the screen. The run may be live or ended."""

        screen: RunScreen

    @dataclass
    class ResumeRequested(Message):
        """The user wants to resume an ended run from its last checkpoint, with another `preset` if given."""

        folder: Path
        preset: Preset | None = None

    def __init__(
        self,
        open_client: OpenClient,
        folder: Path,
        started: StartedRun | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(ConsoleState(RunState(name=folder.name, folder=str(folder)), clock=clock))
        self._session = RunSession(open_client, self.state, self._on_change, started)
        self._lr_guard = LrGuard()
        self._question: ChoiceScreen | None = None
        self._is_ours = started is not None
        self._closes_at_end = False
        self._has_shown_failure = False

    def on_mount(self) -> None:
        """Connect to the run, and open the pane that was open last."""
        self._follow()
        pane = config_of(self.app).pane
        if pane != self.pane:
            self.open_pane(pane)

    @work(exclusive=True, group="follow")
    async def _follow(self) -> None:
        """Follow the run until it ends, and again if somebody resumes it elsewhere."""
        await self._session.follow()
        if self._is_ours and self.state.can_start_anyway:
            # The app shows the findings, and asks whether to start anyway.
            self._closes_at_end = True
        while not (self._closes_at_end or self.state.run.is_live) and await wait_until_live(
            RunFolder(Path(self.state.run.folder)), self._session.correct_end
        ):
            await self._session.follow()
        if self._closes_at_end:
            while self.app.screen is not self:
                await self.app.pop_screen()
            self._close()

    def _on_change(self) -> None:
        """Show the changed state, and withdraw a question that has become pointless because the run ended."""
        self.show_change()
        self._show_failure()
        question = self._question
        if question is not None and self.state.has_ended and question.is_current:
            question.dismiss("detach" if isinstance(question, LeaveScreen) else None)

    def _show_failure(self) -> None:
        """Open the log once a run has failed with a traceback, unless it is shown already."""
        if self._has_shown_failure or self.state.run.status not in ("failed", "lost"):
            return
        log = self.query_one(LogPane)
        if log.has_failure:
            self._has_shown_failure = True
            if not log.display:
                self.enlarged = False
                self.open_pane("log")

    async def _ask(self, question: ChoiceScreen, on_answer: Callable[[str | None], None]) -> None:
        """Show a question that only a live run poses."""

        def forget_and_answer(answer: str | None) -> None:
            self._question = None
            on_answer(answer)

        self._question = question
        await self.app.push_screen(question, forget_and_answer)

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

    async def action_lower_lr(self) -> None:
        """Multiply the lr by 0.56; four times make a factor of 0.1."""
        await self._change_lr(cmd.SetLearningRate(factor=1 / LR_FACTOR))

    async def action_raise_lr(self) -> None:
        """Multiply the lr by 1.78; four times make a factor of 10."""
        await self._change_lr(cmd.SetLearningRate(factor=LR_FACTOR))

    async def _change_lr(self, command: LearningRateCommand, verb: str = "change the lr") -> None:
        """Send a change of the lr; ask first if the lr would differ by more than ten times."""
        if not self._check_steerable(verb):
            return
        change = self._lr_guard.large_change(self.state, command)
        if change is None:
            self._send(command, verb)
            return

        def on_answer(answer: str | None) -> None:
            if answer is not None:
                self._lr_guard.confirm()
                self._send(command, verb)

        await self._ask(LargeLrChangeScreen(*change), on_answer)

    async def action_type_lr(self) -> None:
        """Ask for an lr and set it."""

        async def on_answer(command: LearningRateCommand | None) -> None:
            if command is not None:
                await self._change_lr(command)

        if self._check_steerable("change the lr"):
            await self.app.push_screen(LearningRateScreen(self.state), on_answer)

    async def action_change_setting(self) -> None:
        """Ask for a setting of the preset and its new value, and change it."""

        def on_answer(setting: str | None) -> None:
            if setting is not None:
                key, _, value = setting.partition("=")
                self._send(cmd.ChangeSetting(key=key.strip(), value=value.strip()), "change a setting")

        if self.state.is_program and self.state.is_steerable:
            self.state.say("cannot change a setting: a program of yours has no preset", "attn")
            self.show_change()
        elif self._check_steerable("change a setting"):
            from torchconsole.tui.screens.setting_dialog import SettingScreen

            await self.app.push_screen(SettingScreen(self.state.run.config), on_answer)

    async def action_toggle_hold(self) -> None:
        """Hold the current lr, or release it to the schedule."""
        if self.state.wants_hold:
            await self._change_lr(cmd.ReleaseLearningRate(), "release the lr")
        else:
            await self._change_lr(cmd.HoldLearningRate(), "hold the lr")

    def on_model_pane_asked(self, message: ModelPane.Asked) -> None:
        """Send a command of the model pane."""
        self._send(message.command, message.verb)

    @work(exclusive=True, group="find")
    async def action_find_lr(self) -> None:
        """Find an lr for the paused run by a range test, and set it."""
        from torchconsole.tui.screens.run_finder import find_lr

        if self._check_steerable("find an lr"):
            command = await find_lr(self.app, self.state, self._session)
            self.show_change()
            if command is not None:
                await self._change_lr(command)

    def action_take_step(self) -> None:
        """Train one step, and pause then."""
        self._send(cmd.TrainSteps(), "step")

    def action_save(self) -> None:
        """Save a checkpoint."""
        self._send(cmd.SaveCheckpoint(), "save")

    @work(exclusive=True, group="roll back")
    async def action_roll_back(self) -> None:
        """Ask for a checkpoint, and take the run back to it."""
        from torchconsole.tui.screens.roll_back import RollBackScreen, checkpoint_choices

        if not self._check_steerable("roll back"):
            return
        run = self.state.run
        metric = run.best.metric if run.best else None
        choices = await asyncio.to_thread(checkpoint_choices, RunFolder(Path(run.folder)), metric)
        if self.state.is_program or not choices:
            missing = "the run has no checkpoint yet"
            reason = "only the training of a preset can be" if self.state.is_program else missing
            self.state.say(f"cannot roll back: {reason}", "attn")
            self.show_change()
            return

        def on_answer(checkpoint: str | None) -> None:
            if checkpoint is not None:
                self._send(cmd.RollBack(checkpoint=checkpoint), "roll back")

        await self._ask(RollBackScreen(run.name, choices), on_answer)

    def action_evaluate(self) -> None:
        """Evaluate on the validation data."""
        self._send(cmd.RunEvaluation(), "evaluate")

    def action_profile(self) -> None:
        """Profile the next steps; outside of the device pane, open that first."""
        if self.pane == "device":
            self._send(cmd.ProfileSteps(), "profile")
        else:
            self.action_show_pane("device")

    async def action_stop(self) -> None:
        """Ask for confirmation, then stop the run."""
        if self._check_steerable("stop"):
            await self._ask(StopScreen(self.state.run.name), self._on_leave_or_stop)

    def action_detach(self) -> None:
        """Close the screen and let the run continue."""
        if self.state.is_connected:
            self._close()
        else:
            self._session.refuse("detach")

    async def action_leave(self) -> None:
        """Ask what to do with a live run. Close the screen of an ended or read-only one."""
        if self.state.is_steerable:
            await self._ask(LeaveScreen(self.state.run.name), self._on_leave_or_stop)
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
        """Resume a run that ended early; ask how many more epochs a finished one is to train."""
        folder = Path(self.state.run.folder)
        is_foreign = self.state.is_program or self.state.is_imported
        is_ended_foreign = is_foreign and self.state.has_ended and not self.state.read_only
        if self.state.can_resume or is_ended_foreign:  # for some of these, the error says what to do instead
            self.post_message(self.ResumeRequested(folder))
        elif self.state.can_extend:
            from torchconsole.tui.screens.extend import ExtendScreen

            def on_answer(preset: Preset | None) -> None:
                if preset is not None:
                    self.post_message(self.ResumeRequested(folder, preset))

            self.app.push_screen(ExtendScreen(RunFolder(folder), self.state), on_answer)
        else:
            self._session.refuse("resume")

    def action_reattach(self) -> None:
        """Connect again. This also works for an ended run, which somebody may have resumed."""
        if self.state.connection == "closed" or not self.state.run.is_live:
            self._follow()

    def action_show_pane(self, pane: str) -> None:
        """Open a pane; the open one is enlarged, or made smaller again."""
        self.open_pane(pane)
        self._remember_pane()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the key of the ranks to the chart mode, and where there are none (called by Textual)."""
        if (action, *parameters) == ("show_pane", RANKS_PANE):
            return super().check_action(action, parameters) and self.has_ranks and not self.is_chart_mode
        return super().check_action(action, parameters)

    def _remember_pane(self) -> None:
        """Have the next run opened with this pane, unless only some runs have it."""
        if self.pane != RANKS_PANE:
            remember(self.app, "pane", self.pane)

    def action_next(self) -> None:
        """Open the next pane."""
        self.open_next_pane()
        self._remember_pane()

    def action_back(self) -> None:
        """End the search in a pane; make an enlarged pane smaller; close an open one."""
        if isinstance(self.focused, RowsPane | SearchedRows) and self.focused.query_text:
            self.focused.search("")
        else:
            self.close_pane()
            self._remember_pane()

    def action_search(self) -> None:
        """Search the focused pane, or else the log."""
        pane = self.focused
        if not isinstance(pane, RowsPane | SearchedRows):
            self.open_pane("log")
            pane = self.query_one("#log", RowsPane)
        pane.action_search()

    def action_chart_mode(self) -> None:
        """Open the chart mode, or close it."""
        self.toggle_chart_mode()

    def action_chart(self, name: str) -> None:
        """Do what a key of the charts asks for."""
        self.perform_on_charts(name)

    async def action_choose_metrics(self) -> None:
        """Ask which metrics have a curve."""
        charts = self.charts
        if not self.state.history or self.pane != "charts":
            return

        def on_answer(metrics: list[str] | None) -> None:
            if metrics is not None:
                charts.choose_metrics(metrics)

        await self.app.push_screen(MetricChooser(*charts.choices()), on_answer)

    shows_one_run = True

    def seen_runs(self) -> list[SeenRun]:
        """Return what is known of the run, for messages about it."""
        return [SeenRun.of_state(self.state.run)]

    def text_to_copy(self) -> str:
        """Return the command that opens this screen again."""
        return f"torchconsole attach {shlex.quote(self.state.run.name)}"

    def offered(self, actions: Sequence[Action]) -> Sequence[Action]:
        """Return the actions that are available in the run's state and in the focused pane."""
        pane = self.focused
        missing = [action for action in PANE_LISTS.actions if not hasattr(pane, f"action_{action.id}")]
        return available([action for action in actions if action not in missing], self.state)
