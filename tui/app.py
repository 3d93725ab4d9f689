"""The console's app: which screen is shown, and what leads from one to the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work
from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import printable
from torchconsole.tui import launch
from torchconsole.tui.failed_start import discard_failed_start
from torchconsole.tui.process import at_full_priority, is_remote
from torchconsole.tui.screens.menu import MenuScreen
from torchconsole.tui.textual_compat import LineDiff, LineDiffApp, TerminalDriver

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.config.preset_index import PresetEntry
    from torchconsole.tui.screens.form import FormScreen
    from torchconsole.tui.screens.run import RunScreen

Start = Callable[[], Coroutine[Any, Any, "StartedRun | None"]]
"""Starts a worker, or does not where the user says no or one is there. Raises TorchconsoleError, OSError."""


class ConsoleApp(LineDiffApp[RunFolder], inherit_bindings=False):
    """Shows one run, or the menu and from there any run. Ends with the run that was left last."""

    CSS_PATH = Path(__file__).with_name("theme.tcss")
    BINDINGS = [
        Binding("ctrl+q,ctrl+c", "screen.leave", "Leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True),
    ]

    def __init__(
        self,
        run: RunFolder | None = None,
        started: StartedRun | None = None,
        runs_dir: Path | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        super().__init__(driver_class=TerminalDriver)
        self._first_screen = launch.run_screen(run, started, read_only) if run else MenuScreen(runs_dir)
        self._run = run
        self._started = {started.folder: started} if started else {}
        self._runs_dir = runs_dir
        self._opening = False
        self.line_diff = LineDiff() if is_remote() else None

    def on_mount(self) -> None:
        """Show the run that was asked for, else the menu."""
        if self.line_diff:
            self.add_class("-remote")
            line_diff = self.line_diff
            self.app_resume_signal.subscribe(self, lambda _: line_diff.clear())
        self.push_screen(self._first_screen)

    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]:
        """Of Textual's own commands the one that does not rival what our screens do."""
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)

    def on_menu_screen_shown(self) -> None:
        """Import what the first frame does without."""
        self.run_worker(launch.preload, thread=True)

    def on_menu_screen_preset_chosen(self, message: MenuScreen.PresetChosen) -> None:
        """Start a run and show it."""
        self._begin(partial(self._train, message.preset, []))

    def on_form_screen_train_wanted(self, message: FormScreen.TrainWanted) -> None:
        """Start a run with what was changed, and show it."""
        self._begin(partial(self._train, message.preset, message.overrides))

    def on_menu_screen_edit_wanted(self, message: MenuScreen.EditWanted) -> None:
        """Show a preset's settings."""
        from torchconsole.tui.screens.form import FormScreen

        try:
            form = FormScreen(message.preset)
        except TorchconsoleError as error:
            self._complain("cannot be edited", error)
        else:
            self.push_screen(form)

    def on_form_screen_left(self, message: FormScreen.Left) -> None:
        """Back to the menu."""
        self._remove(message.screen)

    def on_menu_screen_run_chosen(self, message: MenuScreen.RunChosen) -> None:
        """Show a run."""
        self._show(RunFolder(Path(message.run.folder)))

    def on_menu_screen_left(self) -> None:
        """End the console."""
        self.exit(self._run)

    def on_run_screen_left(self, message: RunScreen.Left) -> None:
        """Back to where the user came from."""
        if not any(isinstance(screen, MenuScreen) for screen in self.screen_stack):
            self.exit(self._run)
        elif self._remove(message.screen):
            self._tidy_up()

    def _remove(self, screen: Screen[Any]) -> bool:
        """Remove a screen and what lies over it; False for one that is gone: a key may come twice at once."""
        is_there = screen in self.screen_stack
        while screen in self.screen_stack:
            self.pop_screen()
        return is_there

    @work
    async def _tidy_up(self) -> None:
        """Undo a start that a mistake kept from its first step, and say again what that was."""
        if self._run not in self._started:
            return
        try:
            reason = await asyncio.to_thread(discard_failed_start, self._started[self._run])
        except (TorchconsoleError, OSError) as error:
            self._complain("the start cannot be undone", error)
            return
        if reason is not None:
            self._run = None
            self._complain("not started", reason)

    def on_run_screen_resume_wanted(self, message: RunScreen.ResumeWanted) -> None:
        """Start a worker for a run that has ended, and show it anew."""
        self._begin(partial(self._resume, RunFolder(message.folder)))

    def _begin(self, start: Start) -> None:
        """Start a worker beside the loop; a second start before the first is done is a slip of the finger."""
        if not self._opening:
            self._opening = True
            self._start(start)

    @work
    async def _start(self, start: Start) -> None:
        try:
            started = await start()
            if started is not None:
                self._started[started.folder] = started
                self._show(started.folder)
        except (TorchconsoleError, OSError) as error:
            self._complain("not started", error)
        finally:
            self._opening = False

    async def _train(self, preset: PresetEntry, overrides: list[str]) -> StartedRun | None:
        """Start a new run; None where the user does not trust what it would run."""
        from torchconsole.tui.screens.preset_dialogs import TrustScreen

        loaded, unread = await asyncio.to_thread(launch.load, preset, overrides)
        for path, content in unread:
            if not await self.push_screen_wait(TrustScreen(path, content)):
                return None
            launch.trust(path, content)
        return await at_full_priority(launch.start, loaded, preset.name, self._runs_dir)

    async def _resume(self, folder: RunFolder) -> StartedRun | None:
        """Have a run go on; None where somebody else has had it do so, and then it is shown at once."""
        started = await at_full_priority(launch.resume, folder)
        if started is None:
            self._show(folder)
        return started

    def _complain(self, what: str, reason: Exception | str) -> None:
        self.notify(printable(str(reason)), title=what, severity="error", markup=False)

    def _show(self, folder: RunFolder) -> None:
        """Show a run over the menu or the form, or in the place of the screen that shows it now."""
        from torchconsole.tui.screens.run import RunScreen

        self._run = folder
        screen = launch.run_screen(folder, self._started.get(folder))
        if isinstance(self.screen, RunScreen):
            self.switch_screen(screen)
        else:
            self.push_screen(screen)
