"""Starting a run from the menu: trusting user code, and starts that fail because of a user error."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import pytest
from textual.pilot import Pilot

from tests.support.pilot import shows, until
from tests.support.screen_text import text_of
from tests.support.textual_compat import notifications
from torchconsole.engine.client import catalogue_cache
from torchconsole.engine.client.launcher import StartedRun
from torchconsole.engine.config import preset_files
from torchconsole.engine.config.catalogue import Catalogue, Kind, Signature
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.script import Script, write_script
from torchconsole.engine.config.user_code import is_trusted, trust
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.deletion import remove_refused
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock
from torchconsole.engine.run.own_programs import note_program
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.refusal import RefusalPipe, report_reason
from torchconsole.engine.run.registry import register
from torchconsole.tui import launch
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.screens.menu import MenuScreen
from torchconsole.tui.screens.run import RunScreen

PRESET = 'title = "Mine"\n[data]\nname = "digits"\n[model]\nname = "net.py:Net"\n'
CODE = "class Net:  # \x1b[31mred\x1b[0m [bold]\n    pass\n" + "# more\n" * 60 + "# the end\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one preset and its code, and an empty home folder."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "mine.toml").write_text(PRESET)
    (presets / "net.py").write_text(CODE)
    monkeypatch.setattr(preset_files, "preset_folders", lambda: [presets])
    kinds: dict[Kind, dict[str, Signature]] = {kind: {} for kind in get_args(Kind)}
    kinds["data"] = {"digits": Signature(arguments={})}
    kinds["optimizer"] = {"AdamW": Signature(arguments={"lr": False})}
    monkeypatch.setattr(catalogue_cache, "load_catalogue", lambda: Catalogue(versions={}, kinds=kinds))
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the presets that the app tries to start; it starts none."""
    names: list[str] = []

    def start(preset: Preset, name: str, runs_dir: Path | None, anyway: bool) -> StartedRun:
        names.append(name)
        raise RunError("not in this test")

    monkeypatch.setattr(launch, "start", start)
    return names


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[ConsoleApp, Pilot[RunFolder]]]:
    """Open the console on its menu, with notifications."""
    app = ConsoleApp(runs_dir=folder / "runs")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await shows(app, pilot, "Mine", "none yet")
        yield app, pilot


async def test_user_code_is_shown_and_needs_to_be_trusted_once(folder: Path, started: list[str]) -> None:
    code = folder / "presets" / "net.py"
    async with opened(folder) as (app, pilot):
        await pilot.press("enter")
        await shows(app, pilot, "Do you trust", "net.py", r"class Net:  # \x1b[31mred\x1b[0m [bold]")
        await pilot.press("end")
        await shows(app, pilot, "63  # the end")
        await pilot.press("n")
        await until(app, pilot, lambda: isinstance(app.screen, MenuScreen))
        assert not is_trusted(code)
        await pilot.press("enter")
        await shows(app, pilot, "Do you trust")
        await pilot.press("y")
        await until(app, pilot, lambda: started == ["mine"])
        assert is_trusted(code)
        await shows(app, pilot, "not in this test")
        await pilot.press("enter")
        await until(app, pilot, lambda: started == ["mine", "mine"])


async def test_only_the_content_that_was_shown_is_trusted(folder: Path, started: list[str]) -> None:
    code = folder / "presets" / "net.py"
    async with opened(folder) as (app, pilot):
        await pilot.press("enter")
        await shows(app, pilot, "Do you trust")
        code.write_text("import evil\n")
        await pilot.press("y")
        await until(app, pilot, lambda: started)
        assert not is_trusted(code)


async def test_imported_files_are_shown_with_the_named_one(folder: Path, started: list[str]) -> None:
    presets = folder / "presets"
    (presets / "net.py").write_text("import helper\n")
    (presets / "helper.py").write_text("HELPER = 1\n")
    async with opened(folder) as (app, pilot):
        await pilot.press("enter")
        await shows(app, pilot, "Do you trust these 2 files?", "imports 1 more file", "1  HELPER = 1")
        await pilot.press("y")
        await until(app, pilot, lambda: started == ["mine"])
        (presets / "helper.py").write_text("HELPER = 2\n")
        await pilot.press("escape")
        await pilot.press("enter")
        await shows(app, pilot, "Do you trust this file?", "(changed)", "1  HELPER = 2")
        await pilot.press("n")
        await until(app, pilot, lambda: isinstance(app.screen, MenuScreen))
    assert started == ["mine"]


async def test_code_is_shown_as_python_reads_it(folder: Path, started: list[str]) -> None:
    (folder / "presets" / "net.py").write_bytes("# coding: latin-1\n# caf\xe9\revil()\n".encode("latin-1"))
    async with opened(folder) as (app, pilot):
        await pilot.press("enter")
        await shows(app, pilot, "2  # caf\xe9", "3  evil()")


async def test_missing_user_code_is_reported_in_one_message(folder: Path, started: list[str]) -> None:
    async with opened(folder) as (app, pilot):
        (folder / "presets" / "net.py").unlink()
        await pilot.press("enter")
        await shows(app, pilot, "not started", "model.name: ", "net.py'")
    assert not started


@pytest.mark.parametrize("is_refused", [True, False])
async def test_the_reason_of_a_refused_start_is_shown_on_its_screen_and_in_the_menu(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_refused: bool
) -> None:
    """Its worker removes the run, even before the console has connected to it."""
    (folder / "presets" / "mine.toml").write_text(PRESET.replace("net.py:Net", "MLP"))

    def start(preset: Preset, name: str, runs_dir: Path | None, anyway: bool) -> StartedRun:
        run = RunFolder.create(folder / "runs", name)
        reason = "there is no such thing"
        run.write_record(RunRecord(run.name, str(run.path), preset=name, status="failed", reason=reason))
        register(run)
        pipe = RefusalPipe()
        if is_refused:
            report_reason(reason, pipe.writer)
            remove_refused(run, WorkerLock(run.lock_file))
        pipe.close_writer()
        return StartedRun(run, subprocess.Popen(["true"]), pipe=pipe)

    monkeypatch.setattr(launch, "load", lambda preset, overrides: (object(), []))
    monkeypatch.setattr(launch, "start", start)
    async with opened(folder) as (app, pilot):
        await pilot.press("enter")
        await until(app, pilot, lambda: isinstance(app.screen, RunScreen))
        await shows(app, pilot, "there is no such thing")
        await pilot.press("q")
        await until(app, pilot, lambda: isinstance(app.screen, MenuScreen))
        if is_refused:
            await shows(app, pilot, "none yet", "not started", "there is no such thing")
        else:
            await shows(app, pilot, "status", "failed")
        await pilot.press("q")
        await until(app, pilot, lambda: not app.is_running)
    assert any((folder / "runs").iterdir()) is not is_refused
    assert (app.return_value is None) is is_refused


async def test_a_start_that_findings_refused_can_be_made_anyway(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def start(preset: Preset, name: str, runs_dir: Path | None, anyway: bool) -> StartedRun:
        asked.append(anyway)
        if anyway:
            raise RunError("not in this test")
        run = RunFolder.create(folder / "runs", name)
        pipe = RefusalPipe()
        report_reason("a-finding: all rows sum to 1\nanother: no", pipe.writer, can_start_anyway=True)
        remove_refused(run, WorkerLock(run.lock_file))
        pipe.close_writer()
        return StartedRun(run, subprocess.Popen(["true"]), pipe=pipe)

    monkeypatch.setattr(launch, "load", lambda preset, overrides: (object(), []))
    monkeypatch.setattr(launch, "start", start)
    async with opened(folder) as (app, pilot):
        await pilot.press("enter")
        await shows(app, pilot, "was not started", "a-finding: all rows sum to 1", "start it anyway")
        await pilot.press("escape")
        await until(app, pilot, lambda: isinstance(app.screen, MenuScreen))
        await pilot.press("enter")
        await shows(app, pilot, "was not started", "another: no")
        await pilot.press("y")
        await shows(app, pilot, "not in this test")
    assert asked == [False, False, True]


async def test_a_resume_asks_about_code_that_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = folder / "presets" / "net.py"
    trust(code)
    run = RunFolder.create(folder / "runs", "mine")
    run.write_record(RunRecord(run.name, str(run.path), status="stopped"))
    write_preset(load_preset(str(folder / "presets" / "mine.toml")), run.preset_file)
    code.write_text("class Net: changed = True\n")
    resumed: list[RunFolder] = []
    monkeypatch.setattr(launch, "resume", lambda folder, anyway, preset: resumed.append(folder))
    app = ConsoleApp(run)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await shows(app, pilot, "stopped")
        app.screen.post_message(RunScreen.ResumeRequested(run.path))
        await shows(app, pilot, "Do you trust this file?", "net.py (changed)", "1  class Net: changed")
        assert not resumed
        await pilot.press("y")
        await until(app, pilot, lambda: resumed == [run])
        assert is_trusted(code)


@pytest.mark.parametrize("content", ["first", "second"])
async def test_a_resume_says_that_a_program_from_the_command_line_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    program = folder / "train.py"
    program.write_text("first")
    run = RunFolder.create(folder / "runs", "mine")
    run.write_record(RunRecord(run.name, str(run.path), status="stopped"))
    write_script(Script(file=str(program), folder=str(folder)), run.preset_file)
    note_program(run, ["model"], str(program))
    program.write_text(content)
    resumed: list[RunFolder] = []
    monkeypatch.setattr(launch, "resume", lambda folder, anyway, preset: resumed.append(folder))
    app = ConsoleApp(run)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await shows(app, pilot, "stopped")
        app.screen.post_message(RunScreen.ResumeRequested(run.path))
        await until(app, pilot, lambda: resumed == [run])
        said = notifications(app)
    assert said == (f"{program} has changed since the run began" if content == "second" else "")


async def test_resuming_a_run_that_is_already_live_attaches_to_it(folder: Path) -> None:
    run = RunFolder.create(folder / "runs", "mine")
    record = RunRecord(run.name, str(run.path), status="running", host="elsewhere")
    run.write_record(record)
    app = ConsoleApp(run)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await shows(app, pilot, "● running", "live on elsewhere")
        shown = app.screen
        shown.post_message(RunScreen.ResumeRequested(run.path))
        await until(app, pilot, lambda: app.screen is not shown)
        await shows(app, pilot, "● running", "live on elsewhere")
        assert "not started" not in text_of(app.screen)
