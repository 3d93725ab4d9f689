"""The console on its menu, next to some presets, at a fixed time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from textual.message import Message
from textual.pilot import Pilot

from tests.support.pilot import until
from tests.support.screen_text import text_of
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.screens import menu
from torchconsole.tui.screens.run_tasks import ResumeListedRun

NOW = 1_750_000_000.0
PRESETS = {
    "aa-small": ("A small one", "It is small. It teaches that small things can be enough."),
    "bb-hostile": ("[red]Not red[/red]\x1b[31m", "Its title holds markup and an ANSI code."),
}


def add_run(runs_dir: Path, name: str, status: str, age: float, **facts: object) -> Path:
    """Add a run of another machine, whose recorded status cannot be checked here."""
    folder = RunFolder(runs_dir / name)
    folder.path.mkdir(parents=True, exist_ok=True)
    record = RunRecord(name, str(folder.path), status=status, host="elsewhere", created=NOW - age, **facts)  # type: ignore[arg-type]
    folder.write_record(record)
    folder.preset_file.touch()
    return folder.path


class Menu(ConsoleApp):
    """The console on its menu; it records the menu's messages instead of handling them."""

    def __init__(self, runs_dir: Path) -> None:
        super().__init__(runs_dir=runs_dir)
        self.received: list[Message] = []
        self.compared: list[RunRecord] = []

    def on_menu_screen_compare_requested(self, message: menu.MenuScreen.CompareRequested) -> None:
        """Record the runs."""
        message.prevent_default()
        self.compared = list(message.runs)

    def on_menu_screen_preset_chosen(self, message: menu.MenuScreen.PresetChosen) -> None:
        """Record the message."""
        message.prevent_default()
        self.received.append(message)

    def on_menu_screen_edit_requested(self, message: menu.MenuScreen.EditRequested) -> None:
        """Record the message."""
        message.prevent_default()
        self.received.append(message)

    def on_menu_screen_run_chosen(self, message: menu.MenuScreen.RunChosen) -> None:
        """Record the message."""
        message.prevent_default()
        self.received.append(message)

    def on_resume_listed_run(self, message: ResumeListedRun) -> None:
        """Record the message."""
        message.prevent_default()
        self.received.append(message)

    @property
    def text(self) -> str:
        """The text of the screen."""
        return text_of(self.screen)


@asynccontextmanager
async def opened(
    runs_dir: Path, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Menu, Pilot[RunFolder]]]:
    """Open the menu, and wait until the runs are listed."""
    app = Menu(runs_dir)
    async with app.run_test(size=size) as pilot:
        shown = ["○ dd-table"] if size[1] > 20 else []
        await until(app, pilot, lambda: "presets" in app.text and all(word in app.text for word in shown))
        await until(app, pilot, lambda: "runs 0" not in app.text or "none yet" in app.text or size[1] < 20)
        yield app, pilot


def listed_runs(app: Menu) -> list[str]:
    """Return the names in the list of runs, from top to bottom."""
    lines = app.text.partition("status")[2].splitlines()[1:]
    words = [line.replace("│", " ").replace("▌", " ").replace("◉", " ").split() for line in lines]
    return [line[1] for line in words if len(line) > 2 and line[2] in ("running", "finished")]
