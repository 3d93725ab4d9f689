"""The settings: every one can be changed, is in force at once, and is kept in config.toml."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.support.pilot import shows, until
from tests.support.screen_text import text_of
from torchconsole.engine.config.user_config import user_config_file
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.run_listing import MENU_COLUMNS
from torchconsole.tui.run_rows import COLUMNS, RunTable
from torchconsole.tui.screens.menu import MenuScreen
from torchconsole.tui.screens.run_list import RunList
from torchconsole.tui.screens.settings import SettingList, SettingsScreen
from torchconsole.tui.user_config import SETTINGS, UserConfig, load_config

Opened = tuple[ConsoleApp, Pilot[RunFolder]]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@asynccontextmanager
async def opened(size: tuple[int, int] = (100, 30)) -> AsyncIterator[Opened]:
    app = ConsoleApp(config=load_config())
    async with app.run_test(size=size) as pilot:
        await pilot.press("f2")
        await shows(app, pilot, "settings", "smoothing")
        yield app, pilot
    app.write_settings()


async def test_each_setting_can_be_changed_and_is_kept() -> None:
    async with opened() as (app, pilot):
        for _ in SETTINGS:
            setting = app.screen.query_one(SettingList).setting
            await pilot.press("enter")
            if isinstance(setting.default, list):
                await pilot.press(*("age lr" if setting.choices else "one two"), "enter")
            await pilot.press("j")
        changed = app.config
        assert [name for name in SETTINGS if getattr(changed, name) == getattr(UserConfig(), name)] == []
        assert changed.metrics == ["one", "two"]
        assert changed.run_columns == ["age", "lr"]
    assert load_config() == changed


async def test_a_value_can_be_taken_back_and_its_default_set() -> None:
    async with opened() as (app, pilot):
        await pilot.press("j", "right", "right", "left")
        assert app.config.signs == "unicode"
        await pilot.press("left", "left")
        assert app.config.signs == "ascii"
        assert text_of(app.screen).isascii()
        await pilot.press("delete")
        assert app.config.signs == "auto"
        assert not text_of(app.screen).isascii()


async def test_a_theme_is_drawn_at_once() -> None:
    async with opened() as (app, pilot):
        await pilot.press("right", "right")
        assert app.theme == "torchconsole-light" == app.config.theme
        await pilot.press("left", "left")
        assert app.theme == "torchconsole-dark"
        assert app.config.theme == "auto"


async def test_a_double_click_changes_a_setting() -> None:
    async with opened() as (app, pilot):
        await pilot.click("SettingList", offset=(5, 3), times=2)
        assert app.config.mouse is False


@pytest.mark.parametrize("key", ["q", "escape", "ctrl+c"])
async def test_every_way_out_leads_back(key: str) -> None:
    async with opened() as (app, pilot):
        await pilot.press("f2")
        await pilot.press(key)
        assert isinstance(app.screen, MenuScreen)


async def test_settings_do_not_open_above_a_question() -> None:
    async with opened() as (app, pilot):
        await pilot.press("q", "question_mark", "f2")
        assert not isinstance(app.screen, SettingsScreen)


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60)])
async def test_it_is_readable_in_any_size(size: tuple[int, int]) -> None:
    async with opened(size) as (app, pilot):
        text = text_of(app.screen)
        assert "q back" in text
        assert "? help" in text
        for name in ("theme", "auto", "mouse", "on"):
            assert name in text
        assert ("Smoothing of training curves" in text) == (size[0] >= 80)
        await pilot.press("G")
        await shows(app, pilot, "columns of runs")


async def test_everything_that_is_wrong_in_the_file_is_listed(tmp_path: Path) -> None:
    file = tmp_path / "config" / "torchconsole" / "config.toml"
    file.parent.mkdir(parents=True)
    keys = '[keys]\npause = "ctrl+m"\nno_such = "x"\nsave = "f8"\n'
    file.write_text(f"[console]\nsmoothing = 0.5\n{keys}[foo]\n")
    async with opened() as (app, pilot):
        await shows(
            app, pilot, "! foo: unknown section", "! console.smoothing: must be 0.0, 0.9 or 0.99, got 0.5",
            "! keys.pause: 'ctrl+m': terminals send it as enter; choose another key",
            "! keys.no_such: unknown action",
        )  # fmt: skip
        assert app.user_keys == {"save": ("f8",)}


async def test_what_was_mended_in_the_file_is_used_and_listed_no_more(tmp_path: Path) -> None:
    file = tmp_path / "config" / "torchconsole" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[console]\nsmoothing = 0.5\n[keys]\nsettings = "f11"\n[foo]\n')
    app = ConsoleApp(config=load_config())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("f11")
        await shows(app, pilot, "! foo: unknown section", "! console.smoothing: must be")
        await pilot.press("q")
        file.write_text('[console]\nsmoothing = 0.99\n[keys]\nsettings = "f15"\nlist_down = "z"\n')
        await pilot.press("f11")
        await shows(app, pilot, "smoothing            0.99")
        assert "!" not in text_of(app.screen)
        await pilot.press("z")
        assert app.screen.query_one(SettingList).highlighted == 1
        await pilot.press("q")
        file.write_text("[console\n")
        await pilot.press("f15")
        await shows(app, pilot, "is not valid TOML")
        assert app.config.smoothing == 0.99


async def test_the_mouse_can_be_switched_off_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[bool] = []
    monkeypatch.setattr(ConsoleApp, "set_mouse", lambda self, is_used: used.append(is_used))
    async with opened() as (_, pilot):
        await pilot.press("j", "j", "enter", "enter")
    assert used == [False, True]


async def test_a_name_that_is_unknown_is_refused() -> None:
    app = ConsoleApp(config=load_config())
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await pilot.press("f2")
        await shows(app, pilot, "columns of runs")
        await pilot.press("G", "enter", *"agee", "enter")
        await shows(app, pilot, 'must be a list of "tags", "status"')
        assert app.config.run_columns == []


async def test_the_menu_keeps_its_order_and_shows_the_columns_that_are_wanted() -> None:
    app = ConsoleApp(config=load_config())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("tab", "o", "O")
        await until(app, pilot, lambda: load_config().run_order_reversed)
    config = load_config()
    assert config.run_order == "name"
    app = ConsoleApp(config=config)
    async with app.run_test(size=(100, 30)) as pilot:
        runs = app.screen.query_one(RunList)
        assert (runs.order, runs.is_reversed) == ("name", True)
        app.remember("run_order_reversed", False)
        await until(app, pilot, lambda: not runs.is_reversed)


def test_the_columns_of_the_menu_have_the_names_of_the_settings() -> None:
    assert tuple(column.heading.removeprefix("★ ") for column in COLUMNS) == ("run", *MENU_COLUMNS)
    record = RunRecord(name="one", folder="one", status="finished", created=0.0, epoch=3, lr=0.5, tags=["a"])
    shown = RunTable([record], 0.0, ["lr"]).heading(100, "age")
    assert "".join(text for text, _ in shown).split() == ["run", "lr"]


async def test_the_users_keys_work_in_the_app_and_in_lists() -> None:
    keys = '[keys]\nsettings = "f11"\nlist_down = "n"\nsettings_leave = "f8"\n'
    file = user_config_file()
    file.parent.mkdir(parents=True)
    file.write_text(keys)
    app = ConsoleApp(config=load_config())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("f2")
        assert isinstance(app.screen, MenuScreen)
        await pilot.press("f11", "n", "j")
        assert app.screen.query_one(SettingList).highlighted == 1
        await pilot.press("escape")
        assert isinstance(app.screen, SettingsScreen)
        await pilot.press("f8")
        assert isinstance(app.screen, MenuScreen)
