"""The console's app: which screen is shown, and what leads from one to the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.runtime.run_folder import RunFolder
from torchconsole.tui import opening
from torchconsole.tui.printable import printable
from torchconsole.tui.screens.menu import MenuScreen

if TYPE_CHECKING:
    from torchconsole.engine.runtime.launcher import StartedRun
    from torchconsole.tui.screens.run import RunScreen


class ConsoleApp(App[RunFolder], inherit_bindings=False):
    """Shows one run, or the menu and from there any run. Ends with the run that was left last."""

    CSS_PATH = Path(__file__).with_name("theme.tcss")
    BINDINGS = [
        Binding("ctrl+q,ctrl+c", "screen.leave", "Leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True),
    ]

    def __init__(
        self, run: RunFolder | None = None, started: StartedRun | None = None, runs_dir: Path | None = None
    ) -> None:
        super().__init__()
        self._first_screen = opening.run_screen(run, started) if run else MenuScreen(runs_dir)
        self._run = run
        self._started = {started.folder: started} if started else {}
        self._runs_dir = runs_dir
        self._opening = False

    def on_mount(self) -> None:
        """Show the run that was asked for, else the menu."""
        self.push_screen(self._first_screen)

    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]:
        """Of Textual's own commands the one that does not rival what our screens do."""
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)

    def on_menu_screen_shown(self) -> None:
        """Import what the first frame does without."""
        self.run_worker(opening.preload, thread=True)

    def on_menu_screen_preset_chosen(self, message: MenuScreen.PresetChosen) -> None:
        """Start a run and show it."""
        self._begin(partial(opening.start, message.preset, self._runs_dir))

    def on_menu_screen_run_chosen(self, message: MenuScreen.RunChosen) -> None:
        """Show a run."""
        self._show(RunFolder(Path(message.run.folder)))

    def on_menu_screen_left(self) -> None:
        """End the console."""
        self.exit(self._run)

    def on_run_screen_left(self) -> None:
        """Back to where the user came from."""
        if any(isinstance(screen, MenuScreen) for screen in self.screen_stack):
            self.pop_screen()
        else:
            self.exit(self._run)

    def on_run_screen_resume_wanted(self, message: RunScreen.ResumeWanted) -> None:
        """Start a worker for a run that has ended, and show it anew."""
        self._begin(partial(opening.resume, RunFolder(message.folder)))

    def _begin(self, start: Callable[[], StartedRun]) -> None:
        """Start a worker beside the loop; a second start before the first is done is a slip of the finger."""
        if not self._opening:
            self._opening = True
            self._start(start)

    @work
    async def _start(self, start: Callable[[], StartedRun]) -> None:
        try:
            started = await asyncio.to_thread(start)
        except TorchconsoleError as error:
            self.notify(printable(str(error)), title="not started", severity="error", markup=False)
        else:
            self._started[started.folder] = started
            self._show(started.folder)
        finally:
            self._opening = False

    def _show(self, folder: RunFolder) -> None:
        """Show a run over the menu, or in the place of the screen that shows it now."""
        self._run = folder
        screen = opening.run_screen(folder, self._started.get(folder))
        if isinstance(self.screen, MenuScreen):
            self.push_screen(screen)
        else:
            self.switch_screen(screen)
