"""The menu as text, and what it says the user wants. UPDATE_GOLDENS=1 accepts what it shows."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.message import Message
from textual.pilot import Pilot

from tests.tui.watching import DEADLINE_SECONDS, check_golden
from torchconsole.engine.config import library
from torchconsole.engine.runtime.run_folder import RunFolder, RunRecord
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.screens import menu, menu_lists

NOW = 1_750_000_000.0
PRESETS = {
    "aa-small": ("A small one", "It is small. It teaches that small things can be enough."),
    "bb-hostile": ("[red]Not red[/red]\x1b[31m", "Its title holds markup and an ANSI code."),
}


@pytest.fixture
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two presets and a broken one to choose from, always the same time, and a folder for runs."""
    presets = tmp_path / "presets"
    presets.mkdir()
    for name, (title, description) in PRESETS.items():
        escaped = title.replace("\x1b", "\\u001b")
        (presets / f"{name}.toml").write_text(f'title = "{escaped}"\ndescription = "{description}"\n')
    (presets / "cc-broken.toml").write_text("title = ")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(library, "preset_folders", lambda: [presets])
    monkeypatch.setattr(menu, "gethostname", lambda: "box")
    monkeypatch.setattr(menu, "REFRESH_SECONDS", 0.05)
    monkeypatch.setattr(menu_lists.time, "time", lambda: NOW)
    return tmp_path / "runs"


def add_run(runs_dir: Path, name: str, status: str, age: float, **facts: object) -> None:
    """A run on another machine, so that its status is taken at its word."""
    folder = RunFolder(runs_dir / name)
    folder.path.mkdir(parents=True, exist_ok=True)
    record = RunRecord(name, str(folder.path), status=status, host="elsewhere", created=NOW - age, **facts)  # type: ignore[arg-type]
    folder.write_record(record)


class Menu(ConsoleApp):
    """The console with the menu open; keeps what the user is said to want instead of doing it."""

    def __init__(self, runs_dir: Path) -> None:
        super().__init__(runs_dir=runs_dir)
        self.heard: list[Message] = []

    def on_menu_screen_preset_chosen(self, message: menu.MenuScreen.PresetChosen) -> None:
        """Keep it."""
        message.prevent_default()
        self.heard.append(message)

    def on_menu_screen_run_chosen(self, message: menu.MenuScreen.RunChosen) -> None:
        """Keep it."""
        message.prevent_default()
        self.heard.append(message)

    @property
    def text(self) -> str:
        """The screen as lines of text."""
        strips = self.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


@asynccontextmanager
async def opened(
    runs_dir: Path, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Menu, Pilot[RunFolder]]]:
    """The menu, once the runs are listed."""
    app = Menu(runs_dir)
    async with app.run_test(size=size) as pilot:
        await until(app, pilot, lambda: "STATUS" in app.text or "none yet" in app.text)
        yield app, pilot


async def until(app: Menu, pilot: Pilot[RunFolder], condition: Callable[[], object]) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"in vain; the screen shows:\n{app.text}"
        await pilot.pause(0.01)


async def shows(app: Menu, pilot: Pilot[RunFolder], *words: str) -> None:
    """Wait until all of these are on the screen."""
    await until(app, pilot, lambda: all(word in app.text for word in words))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_menu_as_text(runs_dir: Path, size: tuple[int, int]) -> None:
    best = {"metric": "val/loss", "value": 0.0812, "step": 900}
    add_run(
        runs_dir, "aa-small-20250615-100000", "running", 245, step=1242, epoch=27, total_epochs=60, best=best
    )
    add_run(runs_dir, "aa-small-20250614-100000", "finished", 90000, step=1380, epoch=60, total_epochs=60)
    add_run(runs_dir, "bb-hostile-20250613-100000", "failed", 180000, reason="no")
    async with opened(runs_dir, size) as (app, _):
        check_golden(f"menu-{size[0]}x{size[1]}", app.text)


async def test_enter_on_a_preset_starts_it(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("down")
        await shows(app, pilot, "Its title holds markup", r"[red]Not red[/red]\x1b[31m")
        await pilot.press("enter")
        (message,) = app.heard
        assert isinstance(message, menu.MenuScreen.PresetChosen)
        assert message.preset.name == "bb-hostile"


async def test_enter_on_a_run_shows_it_although_the_list_moved(runs_dir: Path) -> None:
    add_run(runs_dir, "old", "running", 100)
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("tab")
        add_run(runs_dir, "new", "running", 10)
        await shows(app, pilot, "new")
        await pilot.press("enter")
        (message,) = app.heard
        assert isinstance(message, menu.MenuScreen.RunChosen)
        assert message.run.name == "old"


async def test_the_list_follows_the_runs(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        add_run(runs_dir, "fresh", "starting", 1)
        await shows(app, pilot, "starting", "fresh")
        add_run(runs_dir, "fresh", "running", 1, step=23)
        await shows(app, pilot, "running", "23")


async def test_a_preset_that_cannot_be_read_says_why(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("end")
        await shows(app, pilot, "cannot be read: cc-broken.toml", "is not valid TOML")


async def test_help_names_every_key(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("question_mark")
        await shows(app, pilot, *(action.help for action in menu.MENU_ACTIONS))
        await pilot.press("escape")
        await until(app, pilot, lambda: isinstance(app.screen, menu.MenuScreen))


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_every_way_out_ends_the_console(runs_dir: Path, key: str) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press(key)
        await until(app, pilot, lambda: not app.is_running)
    assert app.return_code == 0
