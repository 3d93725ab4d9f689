"""The form: its text, and how it handles input. UPDATE_GOLDENS=1 accepts the text that it shows."""

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
from torchconsole.engine.protocol.reports import CheckReport, Finding
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
    "data": {"digits": Signature(arguments={}), "CSV": Signature(arguments={"target": True})},
    "model": {"MLP": Signature(arguments={"hidden": True, "dropout": False})},
    "optimizer": {"SGD": Signature(arguments={"lr": False, "momentum": False, "nesterov": False})},
    "schedule": {"StepLR": Signature(arguments={"step_size": True, "gamma": False})},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one preset, an empty config folder, and a small catalogue of torch's classes."""
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
    """The name and the overrides of each preset that the app tries to start; it starts none."""
    requested: list[tuple[str, list[str]]] = []

    def load(preset: object, overrides: list[str]) -> None:
        requested.append((preset.name, overrides))  # type: ignore[attr-defined]
        raise RunError("not in this test")

    monkeypatch.setattr(launch, "load", load)
    return requested


class FormConsole:
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
        """Replace the value of the field by `text`."""
        await self.press("end", "ctrl+u", *text)

    async def shows(self, *words: str) -> None:
        await shows(self.app, self.pilot, *words)

    async def lacks(self, *words: str) -> None:
        await until(self.app, self.pilot, lambda: not any(word in self.text for word in words))


@asynccontextmanager
async def editing(folder: Path, size: tuple[int, int] = (80, 24)) -> AsyncIterator[FormConsole]:
    """Open the form, and wait until it has read the catalogue."""
    app = ConsoleApp(runs_dir=folder / "runs")
    async with app.run_test(size=size, notifications=True) as pilot:
        console = FormConsole(app, pilot)
        await console.shows("Small digits", "none yet")
        await console.press("e")
        await console.shows("epochs", "no errors")
        await console.lacks("reading the names")
        yield console


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_form_matches_its_golden_file(folder: Path, size: tuple[int, int]) -> None:
    async with editing(folder, size) as console:
        await console.type("0")
        await console.press("down", "down")
        await console.type("0.05")
        await console.press("ctrl+n", *"optimizer.mo")
        await console.shows("> optimizer.momentum", "1 error", "! epochs")
        check_golden(f"form-{size[0]}x{size[1]}", console.text)


async def test_input_is_checked_with_the_same_messages_as_a_preset_file(folder: Path) -> None:
    async with editing(folder) as console:
        await console.type("many")
        await console.shows("! epochs", "1 error", "training.epochs: must be a valid integer, got 'many'")
        await console.type("12")
        await console.shows("* epochs", "was 10", "no errors", "modified: 1 setting")


async def test_one_field_or_all_fields_can_be_reset(folder: Path) -> None:
    async with editing(folder) as console:
        await console.type("5")
        await console.press("down")
        await console.type("8")
        await console.shows("modified: 2 settings")
        await console.press("ctrl+r")
        await console.shows("modified: 1 setting", "64")
        await console.press("ctrl+n", *"gamma", "enter")
        await console.type("0.5")
        await console.shows("* schedule.0.gamma", "modified: 2 settings")
        await console.press("ctrl+o")
        await console.lacks("modified", "schedule.0.gamma")


async def test_any_key_can_be_set_and_similar_keys_are_suggested(folder: Path, started: list[object]) -> None:
    async with editing(folder) as console:
        await console.press("ctrl+n", *"optimizer.n")
        await console.shows("optimizer.name", "optimizer.nesterov", "argument of SGD")
        await console.press("down", "enter")
        await console.type("true")
        await console.shows("* optimizer.nesterov", "was not set")
        await console.press("ctrl+n", *"optimizer.momentun=0.8", "enter")
        await console.shows(
            "1 error", "optimizer.momentun: SGD takes no argument 'momentun', did you mean 'momentum'?"
        )
        await console.press("ctrl+r", "ctrl+r")
        await console.lacks("momentun")
        await console.press("ctrl+t")
        await console.shows("not started")
        assert started == [("small", ["optimizer.nesterov=true"])]


async def test_typing_a_patience_turns_early_stopping_on(folder: Path, started: list[object]) -> None:
    async with editing(folder) as console:
        await console.press("up", "up")
        await console.type("4")
        await console.shows("* patience", "no errors")
        await console.press("ctrl+t")
        await console.shows("not started")
        assert started == [("small", ["early_stopping.patience=4"])]


REPORT = CheckReport(
    device="cpu",
    task="multiclass",
    input_shape=[1, 8, 8],
    output_shape=[10],
    train_samples=1437,
    val_samples=360,
    batch_size=64,
    steps_per_epoch=23,
    params=17226,
    trainable=17226,
    memory=2**20,
    loss=2.5,
    step_seconds=0.002,
    batch_seconds=0.001,
    seconds={},
)
WRONG = Finding(level="error", name="twice", evidence="rows sum to 1", reason="why", remedy="remove it")


async def test_after_a_check_with_errors_the_run_is_started_anyway(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Finding] = []
    starts: list[bool] = []

    async def check(preset: object) -> CheckReport:
        return REPORT.model_copy(update={"findings": list(found)})

    def start(preset: object, name: str, runs_dir: object, anyway: bool) -> None:
        starts.append(anyway)
        raise RunError("not in this test")

    monkeypatch.setattr(launch, "check", check)
    monkeypatch.setattr(launch, "load", lambda preset, overrides: (object(), []))
    monkeypatch.setattr(launch, "start", start)
    async with editing(folder) as console:
        await console.press("f5")
        await console.shows("no problem found", "1,437 training samples, 17,226 parameters", "2 ms a step")
        found.append(WRONG)
        await console.press("f5")
        await console.shows("error: twice: rows sum to 1; why; to fix it: remove it", "start anyway")
        await console.type("7")
        await console.lacks("start anyway", "twice")
        await console.type("10")
        await console.shows("start anyway")
        await console.press("ctrl+t")
        await console.shows("not in this test")
        assert starts == [True]


async def test_the_error_of_a_check_is_shown_and_cannot_be_overruled(
    folder: Path, started: list[tuple[str, list[str]]]
) -> None:
    async with editing(folder) as console:
        await console.press("f5")
        await console.shows("errors in the dry run", "error: not in this test")
        await console.lacks("start anyway")


async def test_a_saved_copy_keeps_the_comments(folder: Path) -> None:
    async with editing(folder) as console:
        await console.type("7")
        await console.press("ctrl+s")
        await console.press(*"mine", "enter")
        await console.shows("─ mine ─", "saved in")
        saved = folder / "config" / "torchconsole" / "presets" / "mine.toml"
        assert saved.read_text() == f"{PRESET}\n[training]\nepochs = 7\n"
        await console.lacks("modified")
        await console.press("escape")
        await console.shows("presets", "mine", "small")


async def test_a_preset_can_be_saved_as_the_differences_only(folder: Path) -> None:
    async with editing(folder) as console:
        await console.type("7")
        await console.press("ctrl+s", *"mine", "ctrl+e")
        await console.shows("─ mine ─")
        saved = folder / "config" / "torchconsole" / "presets" / "mine.toml"
        assert saved.read_text() == 'extends = "small"\n\n[training]\nepochs = 7\n'
        assert load_preset("mine").training.epochs == 7


async def test_a_name_is_checked_while_it_is_typed(folder: Path) -> None:
    async with editing(folder) as console:
        await console.press("ctrl+s", *"../x")
        await console.shows("a preset's name may contain letters")
        await console.press("enter")
        await console.shows("Save as a preset")
        await console.type("small")
        await console.shows("small is a built-in preset")
    assert not (folder / "config").exists()


async def test_overwriting_a_preset_needs_confirmation(folder: Path) -> None:
    own = preset_files.user_folder() / "zz.toml"
    own.parent.mkdir(parents=True)
    own.write_text('title = "Mine"\n')
    async with editing(folder) as console:
        await console.press("ctrl+s", *"zz", "enter")
        await console.shows("Save as zz?", "you already have a preset called zz")
        await console.press("escape")
        await console.lacks("Save as zz?")
        assert own.read_text() == 'title = "Mine"\n'
        await console.press("enter")
        await console.shows("Save as zz?")
        await console.press("y")
        await console.shows("─ zz ─")
        assert own.read_text() == PRESET


async def test_discarding_changes_needs_confirmation(folder: Path) -> None:
    async with editing(folder) as console:
        await console.press("5", "escape")
        await console.shows("Discard the changes to small?")
        await console.press("escape")
        await console.shows("modified")
        await console.press("escape", "y")
        await until(console.app, console.pilot, lambda: isinstance(console.app.screen, MenuScreen))


async def test_keys_that_arrive_together_reach_their_fields(folder: Path) -> None:
    async with editing(folder) as console:
        press_at_once(console.app, "5", "enter", "1", "down", "9")
        await console.shows("modified: 3 settings")
        rows = [row.input.value for row in console.app.screen.query(form.SettingRow)]
        assert rows[:3] == ["105", "641", "0.19"]


async def test_a_broken_preset_gives_an_error_instead_of_a_form(folder: Path) -> None:
    app = ConsoleApp(runs_dir=folder / "runs")
    async with app.run_test(notifications=True) as pilot:
        await shows(app, pilot, "Small digits", "none yet")
        (folder / "shipped" / "small.toml").write_text("title = ")
        await pilot.press("e")
        await shows(app, pilot, "cannot edit the preset", "is not valid TOML")


async def test_without_a_catalogue_the_form_shows_what_is_not_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Catalogue:
        raise RunError("torch cannot be imported: no torch")

    monkeypatch.setattr(form, "load_catalogue", broken)
    async with editing(folder) as console:
        await console.shows("names and arguments are not checked: torch cannot be imported")


def test_the_screen_implements_every_action_and_each_key_has_one_action() -> None:
    keys = [key for action in FORM_ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))
    assert all(callable(getattr(FormScreen, f"action_{action.id}")) for action in FORM_ACTIONS)


async def test_the_help_lists_every_action(folder: Path) -> None:
    async with editing(folder) as console:
        await console.press("f1")
        await console.shows(*(action.help for action in FORM_ACTIONS))


async def test_two_escapes_at_once_lead_back_to_the_menu(folder: Path) -> None:
    async with editing(folder) as console:
        press_at_once(console.app, "escape", "escape")
        await console.shows("Small digits", "none yet")
        await console.pilot.pause()
        assert isinstance(console.app.screen, MenuScreen)


async def test_the_keys_of_data_that_the_user_must_name_are_fields(folder: Path) -> None:
    table = '[data]\nname = "CSV"\nroot = "data.csv"\ntarget = "price"\n'
    (folder / "shipped" / "small.toml").write_text(PRESET.replace('[data]\nname = "digits"\n', table))
    async with editing(folder, size=(100, 24)) as console:
        await console.shows("data", "data.csv", "target column", "price")
        await console.type("houses.csv")
        await console.press("ctrl+n", *"data.target", "enter")
        await console.type("rent")
        await console.shows("houses.csv", "rent", "was price")
