"""Extending a finished run: the dialog, what it refuses, and its text. UPDATE_GOLDENS=1 accepts the text."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs
from tests.support.watching import Console, check_golden, watching
from torchconsole.engine.client import catalogue_cache
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.reports import LearningRateCurve
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.resume_checks import Spent
from torchconsole.tui import launch
from torchconsole.tui.screens import extend

FINISHED = ev.RunFinished(status="finished", reason="all 60 epochs done", step=1380, epoch=60, time=NOON)
TEN_EPOCHS = Spent(epochs=10, steps=230)
ENDED = ScriptedRun(*BEGINNING, *epochs(1, 2), FINISHED, live=False)


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand-ins for what reads the run and computes its lr. Returns the lines that were typed."""
    typed: list[str] = []

    def extension(folder: RunFolder, settings: str) -> object:
        typed.append(settings)
        if not settings.isdecimal():
            raise RunError("digits-cnn is complete")
        return load_preset("digits-mlp", [f"training.epochs={60 + int(settings)}"])

    async def extended_lr(folder: RunFolder, preset: object) -> LearningRateCurve:
        steps = list(range(1381, 2761, 20))
        lrs = [0.001 * (2761 - step) / 1380 for step in steps]
        return LearningRateCurve(steps_per_epoch=23, total_steps=2760, steps=steps, lrs=[lrs])

    monkeypatch.setattr(launch, "extension", extension)
    monkeypatch.setattr(launch, "extended_lr", extended_lr)
    monkeypatch.setattr(extend, "DELAY_SECONDS", 0.0)
    return typed


async def type_epochs(console: Console, text: str) -> None:
    await console.press("end", "ctrl+u", *text)


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60)])
async def test_the_dialog_matches_its_golden_file(size: tuple[int, int]) -> None:
    async with watching(ENDED, size) as console:
        await console.shows("finished")
        await console.press("r")
        await type_epochs(console, "40")
        await console.shows("training.epochs = 100")
        if size[1] >= extend.ROOMY:
            await console.shows("steps 1,381 to 2,760")
        check_golden(f"extend-{size[0]}x{size[1]}", console.text)


async def test_more_epochs_resume_the_run_with_another_preset(engine: list[str]) -> None:
    async with watching(ENDED) as console:
        await console.shows("r extend")
        await console.press("r")
        await console.shows("how many more epochs?", "(60 of 60 done)")
        await type_epochs(console, "x")
        await console.press("enter")
        await console.shows("digits-cnn is complete")
        await type_epochs(console, "7")
        await console.press("enter")
        await console.until(lambda: console.app.received)
        [message] = console.app.received
        assert message.preset.training.epochs == 67


async def test_a_read_only_console_cannot_extend_a_run() -> None:
    run = ScriptedRun(*BEGINNING, FINISHED, live=False)
    run.read_only = "watching only"
    async with watching(run) as console:
        await console.shows("finished")
        await console.press("r")
        await console.shows("cannot resume")


async def test_a_program_that_has_ended_cannot_be_extended() -> None:
    run = ScriptedRun(*BEGINNING, *epochs(1, 2), FINISHED, live=False)
    run.snapshot.state.config = {"script": {"file": "/train.py"}}
    async with watching(run) as console:
        await console.shows("finished")
        assert "extend" not in console.text
        await console.press("r")  # whoever starts it says what to do instead
        await console.until(lambda: console.app.received)
        assert console.app.received[0].preset is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("", "type how many more epochs"),
        ("0", "type a number of epochs above 0"),
        ("-3", "type a number of epochs above 0"),
        ("many", "type a number of epochs above 0"),
        ("training.seed=1", "training.seed cannot be changed on a resume"),
        ("training.epoch=5", "unknown key"),
        ("training.max_minutes=5", "is complete: training.epochs is 10 and 10 are done"),
    ],
)
def test_what_the_command_line_refuses_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, words: str
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(catalogue_cache, "load_catalogue", lambda: None)
    folder = RunFolder.create(tmp_path, "digits")
    write_preset(load_preset("digits-mlp", ["training.epochs=10"]), folder.preset_file)
    folder.write_record(RunRecord(folder.name, str(folder.path), status="finished"))
    monkeypatch.setattr("torchconsole.engine.run.resume_checks.spent_by", lambda record, folder: TEN_EPOCHS)
    with pytest.raises(TorchconsoleError, match=words):
        launch.extension(folder, settings)
    assert launch.extension(folder, "5").training.epochs == 15


@pytest.mark.parametrize(
    ("settings", "spent", "line"),
    [
        (["training.epochs=10"], TEN_EPOCHS, "10"),
        (["training.epochs=30"], Spent(10, 230, without_improvement=20), "20 early_stopping.patience=40"),
        (["training.epochs=30", "training.max_steps=230"], TEN_EPOCHS, "20 training.max_steps=460"),
        (["training.epochs=10", "training.max_minutes=3"], Spent(10, 230, 3.2), "10 training.max_minutes=7"),
    ],
)
def test_the_suggestion_lets_the_run_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str], spent: Spent, line: str
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(catalogue_cache, "load_catalogue", lambda: None)
    folder = RunFolder.create(tmp_path, "digits")
    stopping = ["early_stopping.monitor=val/loss", "early_stopping.patience=20"]
    write_preset(load_preset("digits-mlp", [*stopping, *settings]), folder.preset_file)
    folder.write_record(RunRecord(folder.name, str(folder.path), status="finished"))
    monkeypatch.setattr("torchconsole.engine.run.resume_checks.spent_by", lambda record, folder: spent)
    assert launch.suggested_extension(folder) == line
    assert launch.extension(folder, line)


async def test_the_suggestion_never_replaces_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    may_answer = threading.Event()

    def suggested(folder: RunFolder) -> str:
        may_answer.wait(10)
        return "7 early_stopping.patience=9"

    monkeypatch.setattr(launch, "suggested_extension", suggested)
    async with watching(ENDED) as console:
        await console.shows("r extend")
        await console.press("r")
        await type_epochs(console, "40")
        may_answer.set()
        await console.shows("training.epochs = 100")
        await console.press("escape", "r")
        await console.shows("7 early_stopping.patience=9")
