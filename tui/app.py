"""The console's app: shows the menu, the form and the runs, and starts runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from textual import work
from textual.screen import Screen

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import printable, printable_lines
from torchconsole.tui import launch
from torchconsole.tui.attentive_app import AttentiveApp
from torchconsole.tui.keys import APP, bindings
from torchconsole.tui.process import at_full_priority, is_remote
from torchconsole.tui.screens.dialogs import StartAnywayScreen
from torchconsole.tui.screens.keyed import KeyedScreen
from torchconsole.tui.screens.menu import MenuScreen
from torchconsole.tui.terminal_background import Answer
from torchconsole.tui.textual_compat import TerminalDriver
from torchconsole.tui.user_config import UserConfig

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.config.preset_index import PresetEntry
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.config.script import Script
    from torchconsole.engine.config.user_imports import UserFile
    from torchconsole.engine.run.record import RunRecord
    from torchconsole.tui.screens.checkpoint_tasks import StartFromCheckpoint
    from torchconsole.tui.screens.compare import CompareScreen
    from torchconsole.tui.screens.form import FormScreen
    from torchconsole.tui.screens.run import RunScreen
    from torchconsole.tui.screens.run_tasks import ResumeListedRun
    from torchconsole.tui.state import ConsoleState

SLOW_START_SECONDS = 0.5
"""After this time the loading of a preset is announced."""

Start = Callable[..., Coroutine[Any, Any, "StartedRun | None"]]
"""Starts a worker; takes `anyway`. Returns None if the user declines or the run is already live.

Raises TorchconsoleError, OSError.
"""


class ConsoleApp(AttentiveApp[RunFolder], inherit_bindings=False):
    """Shows one run, or the menu and from there any run. Returns the run that was shown last, if any."""

    BINDINGS = bindings(APP)
    COMMANDS = set()  # the screens have them

    def __init__(
        self,
        run: RunFolder | None = None,
        started: StartedRun | None = None,
        runs_dir: Path | None = None,
        *,
        read_only: bool = False,
        config: UserConfig | None = None,
        background: Answer | None = None,
        first_screen: Screen[Any] | None = None,
    ) -> None:
        background = background or Answer()
        super().__init__(config, background, driver_class=TerminalDriver)
        self.typed_ahead = background.typed
        self.repeats = background.repeats
        self.line_speed.is_asking = background.has_answered
        if first_screen is None:
            first_screen = launch.run_screen(run, started, read_only) if run else MenuScreen(runs_dir)
        self._first_screen = first_screen
        self._run = run
        self._started = {started.folder: started} if started else {}
        self._starts: dict[RunFolder, Start] = {}
        self._runs_dir = runs_dir
        self._is_starting = False
        self._branches: WeakKeyDictionary[Screen[Any], tuple[RunFolder, Path]] = WeakKeyDictionary()
        """Forms whose settings are for a run that begins at a checkpoint."""

    def on_mount(self) -> None:
        """Show the requested run, or the menu."""
        if is_remote():
            self.add_class("-remote")
        self.push_screen(self._first_screen)
        self.start_attention()

    def action_settings(self) -> None:
        """Show the settings, except above a dialog."""
        from torchconsole.tui.screens.settings import SettingsScreen

        if isinstance(self.screen, KeyedScreen) and not isinstance(self.screen, SettingsScreen):
            self.push_screen(SettingsScreen())

    def on_menu_screen_shown(self) -> None:
        """Import the modules that the first frame does not need."""
        self.run_worker(launch.preload, thread=True)

    def on_menu_screen_preset_chosen(self, message: MenuScreen.PresetChosen) -> None:
        """Start a run of the preset and show it."""
        self._start_worker(partial(self._train, message.preset, []))

    def on_form_screen_train_requested(self, message: FormScreen.TrainRequested) -> None:
        """Start a run with the changed settings and show it."""
        branch = next(
            (self._branches[screen] for screen in self.screen_stack if screen in self._branches), None
        )
        if branch is not None:
            self._start_worker(partial(self._branch, *branch, message.overrides, True, anyway=message.anyway))
            return
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

    def on_menu_screen_samples_requested(self, message: MenuScreen.SamplesRequested) -> None:
        """Show a training batch of the preset after its transforms."""
        self._show_samples(message.preset)

    @work(exclusive=True, group="samples")
    async def _show_samples(self, preset: PresetEntry) -> None:
        from torchconsole.tui.screens.samples import SamplesScreen

        try:
            loaded = await self._load_trusted(preset, [])
            if loaded is None:
                return
            self.notify(printable(f"reading a training batch of {preset.name}..."), timeout=3, markup=False)
            samples = await launch.samples(loaded)
        except (TorchconsoleError, OSError) as error:
            self._notify_error("no training batch", error)
            return
        if isinstance(self.screen, MenuScreen):  # nothing else was opened meanwhile
            await self.push_screen(SamplesScreen(samples))

    def on_start_from_checkpoint(self, message: StartFromCheckpoint) -> None:
        """Train on from a checkpoint, or open the form first, with the run's own settings."""
        from torchconsole.engine.config.preset_index import PresetEntry
        from torchconsole.engine.run.script_runs import refuse_script
        from torchconsole.tui.screens.form import FormScreen

        folder = RunFolder(message.folder)
        try:
            refuse_script(folder, "resume")
        except TorchconsoleError as error:
            self._notify_error("cannot train on", error)
            return
        if not message.changes:
            self._start_worker(partial(self._branch, folder, message.checkpoint, [], False))
            return
        try:
            settings = PresetEntry(folder.name, folder.name, "", folder.preset_file)
            form = FormScreen(settings, run=f"a branch of {folder.name}")
        except TorchconsoleError as error:
            self._notify_error("cannot edit the settings", error)
        else:
            self._branches[form] = folder, message.checkpoint
            self.push_screen(form)

    def on_menu_screen_edit_requested(self, message: MenuScreen.EditRequested) -> None:
        """Open the form with the settings of the preset or the run."""
        from torchconsole.tui.screens.form import FormScreen

        try:
            form = FormScreen(message.preset, message.key, message.run)
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

    def on_menu_screen_compare_requested(self, message: MenuScreen.CompareRequested) -> None:
        """Compare runs."""
        from torchconsole.tui.screens.compare import CompareScreen

        self.push_screen(CompareScreen(message.runs))

    def on_menu_screen_quit_requested(self) -> None:
        """Exit the console."""
        self.exit(self._run)

    def on_run_screen_close_requested(self, message: RunScreen.CloseRequested) -> None:
        """Go to the menu, also if the console was opened on this run."""
        if self._leave(message.screen, self._record_of(message.screen.state)):
            self._report_refusal()

    def on_compare_screen_close_requested(self, message: CompareScreen.CloseRequested) -> None:
        """Go to the menu, also if the console was opened on the comparison."""
        self._leave(message.screen)

    def _record_of(self, state: ConsoleState) -> RunRecord | None:
        """Return which run the menu is to highlight; None if the start was refused, which removes the run."""
        from torchconsole.engine.run.record import RunRecord

        run = state.run
        is_refused = run.status == "failed" and state.user_error
        return None if is_refused or not run.folder else RunRecord(run.name, run.folder)

    def _leave(self, screen: Screen[Any], run: RunRecord | None = None) -> bool:
        """Go to the menu and there to `run`. Return False if the screen is already gone."""
        menu = next((each for each in self.screen_stack if isinstance(each, MenuScreen)), None)
        if not self._remove(screen):
            return False
        is_new = menu is None
        menu = menu or MenuScreen(self._runs_dir)
        if run is not None:
            menu.go_to_run(run)
        if is_new:
            self.push_screen(menu)
        return True

    def _remove(self, screen: Screen[Any]) -> bool:
        """Remove a screen and everything above it. Return False if it is already gone."""
        was_shown = screen in self.screen_stack
        while screen in self.screen_stack:
            self.pop_screen()
        return was_shown

    @work
    async def _report_refusal(self) -> None:
        """Show again why a start was refused. Its run is deleted, or as it was before the resume.

        The form that it was started from is left open then, and closed otherwise.
        """
        started = self._started.get(self._run) if self._run else None
        if started is None:
            return
        try:
            reason = await asyncio.to_thread(started.refusal)
        except (TorchconsoleError, OSError) as error:
            self._notify_error("cannot read the run", error)
            return
        if reason is None:
            self._close_form()
            return
        del self._started[started.folder]
        self._run = None
        again = self._starts.pop(started.folder, None)
        if not (started.can_start_anyway and again):
            self._notify_error("not started", reason)
        elif await self.push_screen_wait(StartAnywayScreen(started.folder.name, reason)):
            self._start_worker(partial(again, anyway=True))

    def _close_form(self) -> None:
        from torchconsole.tui.screens.form import FormScreen

        if isinstance(self.screen, FormScreen):
            self.pop_screen()

    def on_run_screen_resume_requested(self, message: RunScreen.ResumeRequested) -> None:
        """Resume an ended run, and show it again."""
        self._start_worker(partial(self._resume, RunFolder(message.folder), message.preset))

    def on_resume_listed_run(self, message: ResumeListedRun) -> None:
        """Resume a run of the menu, and show it."""
        self._start_worker(partial(self._resume, RunFolder(message.folder), message.preset))

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
                if started.note:
                    self.notify(printable(started.note), markup=False)
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

    async def _load_trusted(self, preset: PresetEntry, overrides: list[str]) -> Preset | Script | None:
        """Load a preset. Return None if the user does not trust the code that it would run."""
        # The first preset that is loaded on a machine reads what torch offers, which takes seconds.
        answer = self.set_timer(SLOW_START_SECONDS, lambda: self.notify("loading the preset...", timeout=5))
        try:
            loaded, untrusted = await asyncio.to_thread(launch.load, preset, overrides)
        finally:
            answer.stop()
        from torchconsole.engine.config.script import Script

        is_program = isinstance(loaded, Script)
        return loaded if await self._is_trusted(untrusted, is_program=is_program) else None

    async def _is_trusted(self, files: Sequence[UserFile], *, is_program: bool = False) -> bool:
        """Ask for trust in files of user code, if there are any; return the answer."""
        from torchconsole.tui.screens.preset_dialogs import ask_for_trust

        return await ask_for_trust(self, files, is_program=is_program)

    async def _may_run_on(self, folder: RunFolder, untrusted: Sequence[UserFile]) -> bool:
        """Ask for trust in the code of a run; say if its program has changed and that is no question."""
        from torchconsole.engine.run.own_programs import changed_file

        if untrusted:
            return await self._is_trusted(untrusted, is_program=launch.is_program(folder))
        if file := await asyncio.to_thread(changed_file, folder):
            self.notify(
                printable(f"{file} has changed since the run began"), severity="warning", markup=False
            )
        return True

    async def _resume(
        self, folder: RunFolder, preset: Preset | None = None, *, anyway: bool = False
    ) -> StartedRun | None:
        """Resume a run, with another preset if given. Return None if the user does not trust its code.

        If somebody else has already resumed it, show it and return None.
        """
        untrusted = (
            await asyncio.to_thread(launch.untrusted_files_of_run, folder)
            if preset is None
            else await asyncio.to_thread(launch.untrusted_files, preset)
        )
        if not await self._may_run_on(folder, untrusted):
            return None
        started = await at_full_priority(launch.resume, folder, anyway, preset)
        if started is None:
            self._show(folder)
        return started

    async def _branch(
        self, folder: RunFolder, checkpoint: Path, overrides: list[str], as_new: bool, *, anyway: bool = False
    ) -> StartedRun | None:
        """Resume from a checkpoint, in a new run if `as_new` or if it is not the newest one.

        Return None if the user does not trust the code that it would run.
        """
        preset, untrusted = await asyncio.to_thread(launch.load_for_branch, folder, overrides)
        if not await self._may_run_on(folder, untrusted):
            return None
        return await at_full_priority(launch.branch, folder, checkpoint, preset, as_new, anyway)

    def _notify_error(self, title: str, reason: Exception | str) -> None:
        self.notify(printable_lines(str(reason)), title=title, severity="error", markup=False)

    def _show(self, folder: RunFolder) -> None:
        """Show a run above the menu or the form, or in place of another run screen."""
        from torchconsole.tui.screens.run import RunScreen

        self._run = folder
        screen = launch.run_screen(folder, self._started.get(folder))
        if isinstance(self.screen, RunScreen):
            self.switch_screen(screen)
        else:
            self.push_screen(screen)
