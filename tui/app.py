"""The console's app: shows the menu, the form and the runs, and starts runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
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
from torchconsole.tui.process import at_full_priority, is_remote
from torchconsole.tui.screens.dialogs import StartAnywayScreen
from torchconsole.tui.screens.menu import MenuScreen
from torchconsole.tui.textual_compat import LineDiff, LineDiffApp, TerminalDriver

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.config.preset_index import PresetEntry
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.config.user_imports import UserFile
    from torchconsole.tui.screens.form import FormScreen
    from torchconsole.tui.screens.run import RunScreen

SLOW_START_SECONDS = 0.5
"""After this time the loading of a preset is announced."""

Start = Callable[..., Coroutine[Any, Any, "StartedRun | None"]]
"""Starts a worker; takes `anyway`. Returns None if the user declines or the run is already live.

Raises TorchconsoleError, OSError.
"""


class ConsoleApp(LineDiffApp[RunFolder], inherit_bindings=False):
    """Shows one run, or the menu and from there any run. Returns the run that was shown last, if any."""

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
        self._starts: dict[RunFolder, Start] = {}
        self._runs_dir = runs_dir
        self._is_starting = False
        self.line_diff = LineDiff() if is_remote() else None

    def on_mount(self) -> None:
        """Show the requested run, or the menu."""
        if self.line_diff:
            self.add_class("-remote")
            line_diff = self.line_diff
            self.app_resume_signal.subscribe(self, lambda _: line_diff.clear())
        self.push_screen(self._first_screen)

    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]:
        """Offer only the theme: the other commands of Textual duplicate actions of our screens."""
        yield SystemCommand("Theme", "Change the colors", self.action_change_theme)

    def on_menu_screen_shown(self) -> None:
        """Import the modules that the first frame does not need."""
        self.run_worker(launch.preload, thread=True)

    def on_menu_screen_preset_chosen(self, message: MenuScreen.PresetChosen) -> None:
        """Start a run of the preset and show it."""
        self._start_worker(partial(self._train, message.preset, []))

    def on_form_screen_train_requested(self, message: FormScreen.TrainRequested) -> None:
        """Start a run with the changed settings and show it."""
        self._start_worker(partial(self._train, message.preset, message.overrides, anyway=message.anyway))

    def on_form_screen_check_requested(self, message: FormScreen.CheckRequested) -> None:
        """Check the form's settings by a dry run."""
        self._check(message.screen, message.preset, message.overrides)

    @work(exclusive=True, group="check")
    async def _check(self, form: FormScreen, preset: PresetEntry, overrides: list[str]) -> None:
        try:
            loaded = await self._load_trusted(preset, overrides)
            report = None if loaded is None else await launch.check(loaded)
        except (TorchconsoleError, OSError) as error:
            form.show_check(overrides, str(error))
        else:
            form.show_check(overrides, report)

    def on_menu_screen_edit_requested(self, message: MenuScreen.EditRequested) -> None:
        """Open the form with the preset's settings."""
        from torchconsole.tui.screens.form import FormScreen

        try:
            form = FormScreen(message.preset)
        except TorchconsoleError as error:
            self._notify_error("cannot edit the preset", error)
        else:
            self.push_screen(form)

    def on_form_screen_close_requested(self, message: FormScreen.CloseRequested) -> None:
        """Return to the menu."""
        self.workers.cancel_group(self, "check")
        self._remove(message.screen)

    def on_menu_screen_run_chosen(self, message: MenuScreen.RunChosen) -> None:
        """Show a run."""
        self._show(RunFolder(Path(message.run.folder)))

    def on_menu_screen_quit_requested(self) -> None:
        """Exit the console."""
        self.exit(self._run)

    def on_run_screen_close_requested(self, message: RunScreen.CloseRequested) -> None:
        """Return to the menu, or exit if the console was opened on this run."""
        if not any(isinstance(screen, MenuScreen) for screen in self.screen_stack):
            self.exit(self._run)
        elif self._remove(message.screen):
            self._report_refusal()

    def _remove(self, screen: Screen[Any]) -> bool:
        """Remove a screen and everything above it. Return False if it is already gone."""
        was_shown = screen in self.screen_stack
        while screen in self.screen_stack:
            self.pop_screen()
        return was_shown

    @work
    async def _report_refusal(self) -> None:
        """Show again why a start was refused. Its run is deleted, or as it was before the resume."""
        started = self._started.get(self._run) if self._run else None
        if started is None:
            return
        try:
            reason = await asyncio.to_thread(started.refusal)
        except (TorchconsoleError, OSError) as error:
            self._notify_error("cannot read the run", error)
            return
        if reason is None:
            return
        del self._started[started.folder]
        self._run = None
        again = self._starts.pop(started.folder, None)
        if not (started.can_start_anyway and again):
            self._notify_error("not started", reason)
        elif await self.push_screen_wait(StartAnywayScreen(started.folder.name, reason)):
            self._start_worker(partial(again, anyway=True))

    def on_run_screen_resume_requested(self, message: RunScreen.ResumeRequested) -> None:
        """Resume an ended run, and show it again."""
        self._start_worker(partial(self._resume, RunFolder(message.folder)))

    def _start_worker(self, start: Start) -> None:
        """Start a worker in the background. Ignore a repeated key until the start is done."""
        if not self._is_starting:
            self._is_starting = True
            self._run_start(start)

    @work
    async def _run_start(self, start: Start) -> None:
        try:
            started = await start()
            if started is not None:
                self._started[started.folder] = started
                self._starts[started.folder] = start
                self._show(started.folder)
        except (TorchconsoleError, OSError) as error:
            self._notify_error("not started", error)
        finally:
            self._is_starting = False

    async def _train(
        self, preset: PresetEntry, overrides: list[str], *, anyway: bool = False
    ) -> StartedRun | None:
        """Start a new run. Return None if the user does not trust the code that it would run."""
        loaded = await self._load_trusted(preset, overrides)
        if loaded is None:
            return None
        return await at_full_priority(launch.start, loaded, preset.name, self._runs_dir, anyway)

    async def _load_trusted(self, preset: PresetEntry, overrides: list[str]) -> Preset | None:
        """Load a preset. Return None if the user does not trust the code that it would run."""
        # The first preset that is loaded on a machine reads what torch offers, which takes seconds.
        answer = self.set_timer(SLOW_START_SECONDS, lambda: self.notify("loading the preset...", timeout=5))
        try:
            loaded, untrusted = await asyncio.to_thread(launch.load, preset, overrides)
        finally:
            answer.stop()
        return loaded if await self._is_trusted(untrusted) else None

    async def _is_trusted(self, files: Sequence[UserFile]) -> bool:
        """Ask for trust in files of user code, if there are any; return the answer."""
        from torchconsole.tui.screens.preset_dialogs import TrustScreen

        if not files:
            return True
        is_trusted = await self.push_screen_wait(TrustScreen(files))
        if is_trusted:
            launch.trust(files)
        return is_trusted

    async def _resume(self, folder: RunFolder, *, anyway: bool = False) -> StartedRun | None:
        """Resume a run. Return None if the user does not trust its code.

        If somebody else has already resumed it, show it and return None.
        """
        if not await self._is_trusted(await asyncio.to_thread(launch.untrusted_files_of_run, folder)):
            return None
        started = await at_full_priority(launch.resume, folder, anyway)
        if started is None:
            self._show(folder)
        return started

    def _notify_error(self, title: str, reason: Exception | str) -> None:
        self.notify(printable(str(reason)), title=title, severity="error", markup=False)

    def _show(self, folder: RunFolder) -> None:
        """Show a run above the menu or the form, or in place of another run screen."""
        from torchconsole.tui.screens.run import RunScreen

        self._run = folder
        screen = launch.run_screen(folder, self._started.get(folder))
        if isinstance(self.screen, RunScreen):
            self.switch_screen(screen)
        else:
            self.push_screen(screen)
