"""Presets that run a program of the user's: asked about, edited, started and saved in the console."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.support.pilot import shows, until
from tests.support.screen_text import text_of
from torchconsole.engine.client.launcher import StartedRun
from torchconsole.engine.config import draft, preset_files
from torchconsole.engine.config.program_arguments import Argument, ProgramArguments
from torchconsole.engine.config.script import Script
from torchconsole.engine.config.script_presets import load_script
from torchconsole.engine.config.user_code import is_trusted, trust
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui import launch
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.screens.form import FormScreen
from torchconsole.tui.screens.menu import MenuScreen

PRESET = 'title = "Own net"\n[script]\nfile = "train.py"\nargs = ["--lr", "0.5", "--new", "a b"]\n'
FOUND = ProgramArguments(
    parser="argparse",
    description="Trains a net of mine.",
    arguments=[
        Argument(key="--lr", flags=["--lr"], type="number", default="0.1", given="0.5", help="its lr"),
        Argument(key="--net", flags=["--net"], default="cnn", choices=["cnn", "mlp"], group="model"),
        Argument(key="--amp", flags=["--amp"], kind="flag", default="false", choices=["true", "false"]),
        Argument(key="--seed", flags=["--seed"], type="integer", required=True),
    ],
    rest=["--new", "a b"],
    problem="the following arguments are required: --seed",
)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program of one preset in a working folder, with an empty home folder."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "own.toml").write_text(PRESET)
    (presets / "train.py").write_text("import torch  # the program\n")
    for module in (preset_files, draft):
        monkeypatch.setattr(module, "preset_folders", lambda: [presets, preset_files.user_folder()])
    return presets / "train.py"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of each program that the app tries to start; it starts none."""
    requested: list[list[str]] = []

    def start(script: Script, name: str, runs_dir: Path | None, anyway: bool) -> StartedRun:
        requested.append([name, *script.args])
        raise RunError("not in this test")

    monkeypatch.setattr(launch, "start", start)
    return requested


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> list[ProgramArguments | RunError]:
    """What the process that runs the program answers: the last entry."""
    answers: list[ProgramArguments | RunError] = [FOUND]

    async def program_arguments(script: Script) -> ProgramArguments:
        await asyncio.sleep(0)
        if isinstance(answers[-1], RunError):
            raise answers[-1]
        return answers[-1]

    monkeypatch.setattr(launch, "program_arguments", program_arguments)
    return answers


def remove(program: Path) -> None:
    program.unlink()


def change(program: Path) -> None:
    program.write_text("import os\n")


@asynccontextmanager
async def menu(
    folder: Path, size: tuple[int, int] = (120, 36)
) -> AsyncIterator[tuple[ConsoleApp, Pilot[RunFolder]]]:
    """Open the console on its menu, with notifications."""
    app = ConsoleApp(runs_dir=folder / "runs")
    async with app.run_test(size=size, notifications=True) as pilot:
        await shows(app, pilot, "Own net", "none yet")
        yield app, pilot


async def test_the_menu_tells_what_a_preset_runs(program: Path) -> None:
    async with menu(program.parent.parent) as (app, pilot):
        await shows(app, pilot, "a program", "--lr 0.5 --new 'a b'", "presets/train.py")
        await pilot.press("i")
        await shows(app, pilot, "Own net", "args", "--lr 0.5 --new 'a b'")
        await pilot.press("escape")
        remove(program)
        await pilot.press("enter")
        await shows(app, pilot, "not started", "script.file: there is no file train.py")


async def test_each_error_of_a_preset_is_on_a_line_of_its_own(program: Path) -> None:
    async with menu(program.parent.parent) as (app, pilot):
        (program.parent / "own.toml").write_text(PRESET + "folder = 3\nenv = 3\n")
        await pilot.press("enter")
        await shows(app, pilot, "not started", "script.folder: must be text", "script.env: must be a table")
        assert "\\n" not in text_of(app.screen)


async def test_a_program_is_asked_about_once_and_again_when_it_has_changed(
    program: Path, started: list[list[str]]
) -> None:
    async with menu(program.parent.parent) as (app, pilot):
        await pilot.press("enter")
        await shows(app, pilot, "Do you trust this file?", "What it imports is not covered", "# the program")
        await pilot.press("n")
        await until(app, pilot, lambda: isinstance(app.screen, MenuScreen))
        assert not is_trusted(program)
        await pilot.press("enter")
        await shows(app, pilot, "Do you trust this file?")
        await pilot.press("y")
        await until(app, pilot, lambda: started == [["own", "--lr", "0.5", "--new", "a b"]])
        change(program)
        await pilot.press("enter")
        await shows(app, pilot, "train.py (changed)", "import os")


async def test_arguments_are_edited_checked_and_started(
    program: Path, started: list[list[str]], answer: list[ProgramArguments | RunError]
) -> None:
    trust(program)
    async with menu(program.parent.parent) as (app, pilot):
        await pilot.press("e")
        await shows(app, pilot, "--seed", "is required", "Trains a net of mine.", "--new 'a b'", "1 error")
        await shows(
            app, pilot, "argparse refuses these arguments: the following arguments are required: --seed"
        )
        await pilot.press("f6")
        await shows(app, pilot, "fix the errors first, then start")
        assert started == []
        await pilot.press("end", "ctrl+u", *"fast")
        await shows(app, pilot, "must be a number, not 'fast'", "2 errors")
        await pilot.press("ctrl+u", *"-1e-3", "down", "t", "down", *"7", "down", "m")
        await shows(app, pilot, "modified: 4 settings", "no errors", "mlp", "was 0.5")
        await shows(app, pilot, "python train.py --lr=-1e-3 --net mlp --amp --seed 7 --new 'a b'")
        answer.append(FOUND.model_copy(update={"problem": ""}))
        await pilot.press("f5")
        await shows(app, pilot, "argparse accepts these arguments")
        await pilot.press("f6")
        wanted = ["own", "--lr=-1e-3", "--net", "mlp", "--amp", "--seed", "7", "--new", "a b"]
        await until(app, pilot, lambda: started == [wanted])


async def test_edited_arguments_are_saved_as_a_preset(
    program: Path, answer: list[ProgramArguments | RunError]
) -> None:
    trust(program)
    async with menu(program.parent.parent) as (app, pilot):
        await pilot.press("e")
        await shows(app, pilot, "--seed", "is required")
        await pilot.press("f3", *"seed", "enter", *"7")
        await shows(app, pilot, "no errors")
        await pilot.press("f8", *"mine", "enter")
        await shows(app, pilot, "saved in", "mine")
        saved = load_script("mine")
        assert saved is not None
        assert (saved.file, saved.args) == (str(program), ["--lr", "0.5", "--seed", "7", "--new", "a b"])


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (RunError("train has not parsed its arguments within 60 s"), "within 60 s"),
        (
            ProgramArguments(remarks=["it ends without parsing"], rest=["--lr"]),
            "note: it ends without parsing",
        ),
    ],
)
async def test_a_program_that_tells_nothing_is_started_with_typed_words(
    program: Path,
    started: list[list[str]],
    answer: list[ProgramArguments | RunError],
    answered: ProgramArguments | RunError,
    said: str,
) -> None:
    trust(program)
    answer.append(answered)
    async with menu(program.parent.parent) as (app, pilot):
        await pilot.press("e")
        await shows(app, pilot, said, "script.args", "--lr 0.5 --new 'a b'")
        title = "arguments not found" if isinstance(answered, RunError) else "no errors"
        await shows(app, pilot, title)
        await pilot.press("end", *" 'x")
        await shows(app, pilot, "a quote is not closed")
        await pilot.press(*" y'")
        await shows(app, pilot, "modified: 1 setting")
        await pilot.press("f6")
        await until(app, pilot, lambda: started == [["own", "--lr", "0.5", "--new", "a b", "x y"]])


async def test_without_trust_the_form_stays_usable_and_asks_again(
    program: Path, answer: list[ProgramArguments | RunError]
) -> None:
    async with menu(program.parent.parent) as (app, pilot):
        await pilot.press("e")
        await shows(app, pilot, "Do you trust this file?")
        await pilot.press("n")
        await until(app, pilot, lambda: isinstance(app.screen, FormScreen))
        await shows(app, pilot, "script.args")
        assert "--seed" not in text_of(app.screen)
        await pilot.press("f5")
        await shows(app, pilot, "Do you trust this file?")
        await pilot.press("y")
        await shows(app, pilot, "--seed", "is required")
