"""The text of the menu in its states, and of what opens over it. UPDATE_GOLDENS=1 accepts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.support.menus import Menu, add_run, opened
from tests.support.pilot import shows, until
from tests.support.textual_compat import is_painted
from tests.support.watching import check_golden
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.screens.settings import SettingList

Press = Callable[..., Awaitable[None]]
Script = Callable[[Menu, Press], Awaitable[None]]

SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))


async def no_runs(menu: Menu, press: Press) -> None:
    """Nothing was ever started here."""


async def search(menu: Menu, press: Press) -> None:
    """The line of a search, and what it finds."""
    await press("tab", "slash", *"status:failed")


async def selection(menu: Menu, press: Press) -> None:
    """Two selected runs, the names of which are long."""
    await press("tab", "space", "down", "space", "down")


async def about(menu: Menu, press: Press) -> None:
    """Everything about a run."""
    await press("tab", "i")


async def notes(menu: Menu, press: Press) -> None:
    """The name, the tags and the note of a run."""
    await press("tab", "N")


async def menu_help(menu: Menu, press: Press) -> None:
    """The keys of the menu."""
    await press("question_mark")


async def command_palette(menu: Menu, press: Press) -> None:
    """Every action with its key."""
    await press("ctrl+p")
    await shows(menu, press.pilot, "key: ")  # type: ignore[attr-defined]


SCRIPTS = (no_runs, search, selection, about, notes, menu_help, command_palette)


class Presses:
    """Presses keys and waits until their effect is shown."""

    def __init__(self, menu: Menu, pilot: Pilot[RunFolder]) -> None:
        self.menu, self.pilot = menu, pilot

    async def __call__(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def settle(self) -> None:
        """Wait until the screen shows what has happened."""
        await self.pilot.pause()
        await until(self.menu, self.pilot, lambda: is_painted(self.menu.screen))


def add_runs(runs_dir: Path) -> None:
    """Add runs of each status, most of them with names of 60 characters."""
    statuses = ("finished", "failed", "stopped", "lost", "interrupted", "finished", "failed")
    for number, status in enumerate(statuses):
        name = (
            f"run-{number}"
            if number % 3 == 1
            else f"ablation-{number}-of-the-learning-rate-with-warm-up".ljust(60, "x")
        )
        best = {"metric": "val/loss", "value": 0.5 + number / 10, "step": 40}
        facts = {"preset": "aa-small", "epoch": number + 1, "total_epochs": 10, "best": best}
        add_run(runs_dir, name, status, 3600.0 * number, reason="it says why", **facts)


@pytest.mark.parametrize("script", SCRIPTS)
async def test_it_matches_its_golden_files(runs_dir: Path, script: Script) -> None:
    if script is not no_runs:
        add_runs(runs_dir)
    async with opened(runs_dir, size=SIZES[1]) as (menu, pilot):
        press = Presses(menu, pilot)
        await script(menu, press)
        for width, height in SIZES:
            await pilot.resize_terminal(width, height)
            await press.settle()
            name = script.__name__.replace("_", "-")
            check_golden(f"menu-{name.removeprefix('menu-')}-{width}x{height}", menu.text)


async def test_the_settings_match_their_golden_files(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SettingList, "remark", lambda self: [("config.toml", "faint")])
    async with opened(runs_dir, size=SIZES[1]) as (menu, pilot):
        press = Presses(menu, pilot)
        await press("f2")
        for width, height in SIZES:
            await pilot.resize_terminal(width, height)
            await press.settle()
            check_golden(f"settings-{width}x{height}", menu.text)
