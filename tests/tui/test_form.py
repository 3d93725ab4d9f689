"""The form as text, and what it does with what is typed. UPDATE_GOLDENS=1 accepts what it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import pytest
from textual.pilot import Pilot

from tests.support.pilot import press_at_once, shows, until
from tests.support.screen_text import text_of
from tests.support.watching import check_golden
from torchconsole.engine.client import catalogue_cache
from torchconsole.engine.config import draft, preset_files
from torchconsole.engine.config.catalogue import Catalogue, Kind, Signature
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui import launch
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.screens import form, menu
from torchconsole.tui.screens.form import FORM_ACTIONS, FormScreen
from torchconsole.tui.screens.menu import MenuScreen

PRESET = """\
title = "Small digits"  # of the UCI
[data]
name = "digits"
batch_size = 64  # more is slower
[model]
name = "MLP"
hidden = [16]
[optimizer]
name = "SGD"
lr = 0.1
momentum = 0.9  # the usual
[[schedule]]
name = "StepLR"
step_size = 50
"""
OFFERS: dict[Kind, dict[str, Signature]] = {
    "data": {"digits": Signature(arguments={})},
    "model": {"MLP": Signature(arguments={"hidden": True, "dropout": False})},
    "optimizer": {"SGD": Signature(arguments={"lr": False, "momentum": False, "nesterov": False})},
    "schedule": {"StepLR": Signature(arguments={"step_size": True, "gamma": False})},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one preset, a config folder of one's own, and a small torch."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "small.toml").write_text(PRESET)
    folders = [tmp_path / "presets", preset_files.user_folder(), tmp_path / "shipped"]
    for module in (preset_files, draft):
        monkeypatch.setattr(module, "preset_folders", lambda: folders)
    offered = Catalogue(versions={}, kinds={**{kind: {} for kind in get_args(Kind)}, **OFFERS})
    monkeypatch.setattr(catalogue_cache, "load_catalogue", lambda: offered)
    monkeypatch.setattr(form, "load_catalogue", lambda: offered)
    monkeypatch.setattr(menu, "gethostname", lambda: "box")
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What is asked to be started, name and overrides; none of it is."""
    asked: list[tuple[str, list[str]]] = []

    def load(preset: object, overrides: list[str]) -> None:
        asked.append((preset.name, overrides))  # type: ignore[attr-defined]
        raise RunError("not in this test")

    monkeypatch.setattr(launch, "load", load)
    return asked


class Desk:
    """The console with the form open on the preset `small`."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[RunFolder]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def text(self) -> str:
        return text_of(self.app.screen)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Put `text` in the place of what stands in the field."""
        await self.press("end", "ctrl+u", *text)

    async def shows(self, *words: str) -> None:
        await shows(self.app, self.pilot, *words)

    async def lacks(self, *words: str) -> None:
        await until(self.app, self.pilot, lambda: not any(word in self.text for word in words))


@asynccontextmanager
async def editing(folder: Path, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Desk]:
    """The form, once everything about the preset was looked up."""
    app = ConsoleApp(runs_dir=folder / "runs")
    async with app.run_test(size=size, notifications=True) as pilot:
        desk = Desk(app, pilot)
        await desk.shows("Small digits", "none yet")
        await desk.press("e")
        await desk.shows("epochs", "no errors")
        await desk.lacks("reading the names")
        yield desk


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_form_as_text(folder: Path, size: tuple[int, int]) -> None:
    async with editing(folder, size) as desk:
        await desk.type("0")
        await desk.press("down", "down")
        await desk.type("0.05")
        await desk.press("ctrl+n", *"optimizer.mo")
        await desk.shows("> optimizer.momentum", "1 error", "! epochs")
        check_golden(f"form-{size[0]}x{size[1]}", desk.text)


async def test_what_is_typed_is_checked_with_the_messages_of_a_file(folder: Path) -> None:
    async with editing(folder) as desk:
        await desk.type("many")
        await desk.shows(
            "! epochs", "1 error", "training.epochs: input should be a valid integer, got 'many'"
        )
        await desk.type("12")
        await desk.shows("* epochs", "was 10", "no errors", "modified: 1 setting")


async def test_one_field_or_all_are_taken_back(folder: Path) -> None:
    async with editing(folder) as desk:
        await desk.type("5")
        await desk.press("down")
        await desk.type("8")
        await desk.shows("modified: 2 settings")
        await desk.press("ctrl+r")
        await desk.shows("modified: 1 setting", "64")
        await desk.press("ctrl+n", *"gamma", "enter")
        await desk.type("0.5")
        await desk.shows("* schedule.0.gamma", "modified: 2 settings")
        await desk.press("ctrl+o")
        await desk.lacks("modified", "schedule.0.gamma")


async def test_any_key_can_be_set_and_the_nearest_are_offered(folder: Path, started: list[object]) -> None:
    async with editing(folder) as desk:
        await desk.press("ctrl+n", *"optimizer.n")
        await desk.shows("optimizer.name", "optimizer.nesterov", "argument of SGD")
        await desk.press("down", "enter")
        await desk.type("true")
        await desk.shows("* optimizer.nesterov", "was not set")
        await desk.press("ctrl+n", *"optimizer.momentun=0.8", "enter")
        await desk.shows(
            "1 error", "optimizer.momentun: SGD takes no argument 'momentun', did you mean 'momentum'?"
        )
        await desk.press("ctrl+r", "ctrl+r")
        await desk.lacks("momentun")
        await desk.press("ctrl+t")
        await desk.shows("not started")
        assert started == [("small", ["optimizer.nesterov=true"])]


async def test_the_patience_turns_early_stopping_on(folder: Path, started: list[object]) -> None:
    async with editing(folder) as desk:
        await desk.press("up", "up")
        await desk.type("4")
        await desk.shows("* patience", "no errors")
        await desk.press("ctrl+t")
        await desk.shows("not started")
        assert started == [("small", ["early_stopping.patience=4"])]


async def test_an_own_preset_keeps_the_comments(folder: Path) -> None:
    async with editing(folder) as desk:
        await desk.type("7")
        await desk.press("ctrl+s")
        await desk.press(*"mine", "enter")
        await desk.shows("─ mine ─", "saved in")
        saved = folder / "config" / "torchconsole" / "presets" / "mine.toml"
        assert saved.read_text() == f"{PRESET}\n[training]\nepochs = 7\n"
        await desk.lacks("modified")
        await desk.press("escape")
        await desk.shows("presets", "mine", "small")


async def test_an_own_preset_may_say_only_what_differs(folder: Path) -> None:
    async with editing(folder) as desk:
        await desk.type("7")
        await desk.press("ctrl+s", *"mine", "ctrl+e")
        await desk.shows("─ mine ─")
        saved = folder / "config" / "torchconsole" / "presets" / "mine.toml"
        assert saved.read_text() == 'extends = "small"\n\n[training]\nepochs = 7\n'
        assert load_preset("mine").training.epochs == 7


async def test_a_name_is_checked_as_it_is_typed(folder: Path) -> None:
    async with editing(folder) as desk:
        await desk.press("ctrl+s", *"../x")
        await desk.shows("a preset's name may contain letters")
        await desk.press("enter")
        await desk.shows("Save as a preset")
        await desk.type("small")
        await desk.shows("small is a built-in preset")
    assert not (folder / "config").exists()


async def test_nothing_is_overwritten_without_asking(folder: Path) -> None:
    own = preset_files.user_folder() / "zz.toml"
    own.parent.mkdir(parents=True)
    own.write_text('title = "Mine"\n')
    async with editing(folder) as desk:
        await desk.press("ctrl+s", *"zz", "enter")
        await desk.shows("Save as zz?", "you already have a preset called zz")
        await desk.press("escape")
        await desk.lacks("Save as zz?")
        assert own.read_text() == 'title = "Mine"\n'
        await desk.press("enter")
        await desk.shows("Save as zz?")
        await desk.press("y")
        await desk.shows("─ zz ─")
        assert own.read_text() == PRESET


async def test_changes_are_not_lost_without_asking(folder: Path) -> None:
    async with editing(folder) as desk:
        await desk.press("5", "escape")
        await desk.shows("Discard the changes to small?")
        await desk.press("escape")
        await desk.shows("modified")
        await desk.press("escape", "y")
        await until(desk.app, desk.pilot, lambda: isinstance(desk.app.screen, MenuScreen))


async def test_keys_that_arrive_together_end_in_their_fields(folder: Path) -> None:
    async with editing(folder) as desk:
        press_at_once(desk.app, "5", "enter", "1", "down", "9")
        await desk.shows("modified: 3 settings")
        rows = [row.input.value for row in desk.app.screen.query(form.SettingRow)]
        assert rows[:3] == ["105", "641", "0.19"]


async def test_the_form_of_a_broken_preset_says_what_is_wrong(folder: Path) -> None:
    app = ConsoleApp(runs_dir=folder / "runs")
    async with app.run_test(notifications=True) as pilot:
        await shows(app, pilot, "Small digits", "none yet")
        (folder / "shipped" / "small.toml").write_text("title = ")
        await pilot.press("e")
        await shows(app, pilot, "cannot edit the preset", "is not valid TOML")


async def test_without_a_catalogue_it_says_what_is_not_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Catalogue:
        raise RunError("torch cannot be looked at: no torch")

    monkeypatch.setattr(form, "load_catalogue", broken)
    async with editing(folder) as desk:
        await desk.shows("names and arguments are not checked: torch cannot be looked at")


def test_every_action_is_one_of_the_screen_and_no_key_has_two_meanings() -> None:
    keys = [key for action in FORM_ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))
    assert all(callable(getattr(FormScreen, f"action_{action.id}")) for action in FORM_ACTIONS)


async def test_the_help_names_every_key(folder: Path) -> None:
    async with editing(folder) as desk:
        await desk.press("f1")
        await desk.shows(*(action.help for action in FORM_ACTIONS))


async def test_a_form_that_is_left_twice_at_once_leads_back_to_the_menu(folder: Path) -> None:
    async with editing(folder) as desk:
        press_at_once(desk.app, "escape", "escape")
        await desk.shows("Small digits", "none yet")
        await desk.pilot.pause()
        assert isinstance(desk.app.screen, MenuScreen)
