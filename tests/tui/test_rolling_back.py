"""R asks which checkpoint a live run goes back to, and sends the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_checkpoints import fake_checkpoint
from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs
from tests.support.watching import check_golden, watching
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.screens import roll_back
from torchconsole.tui.screens.roll_back import checkpoint_choices

SAVED = ev.CheckpointSaved(step=69, epoch=3, name="step-00000069", reason="last", time=NOON)
SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run with four checkpoints."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    fake_checkpoint(run, 23, kept=True)
    fake_checkpoint(run, 46, links=("best",))
    fake_checkpoint(run, 69, kept=True, links=("last",))
    return run


def live(folder: RunFolder, *events: ev.Event) -> ScriptedRun:
    run = ScriptedRun(*BEGINNING, *epochs(1, 3), *events)
    run.snapshot.state.folder = str(folder.path)
    return run


def test_the_best_checkpoint_is_the_first(folder: RunFolder) -> None:
    choices = checkpoint_choices(folder, "val/loss")
    assert [(choice.keys, choice.id, choice.label) for choice in choices] == [
        (("1",), "step-00000046", "step 46  val/loss 0.0217  best"),
        (("2",), "step-00000069", "step 69  val/loss 0.0145  last, kept"),
        (("3",), "step-00000023", "step 23  val/loss 0.0435  kept"),
    ]
    assert checkpoint_choices(folder, None)[0].label == "step 46  best"


async def test_the_chosen_checkpoint_is_sent(folder: RunFolder) -> None:
    async with watching(live(folder, SAVED)) as console:
        await console.press("R")
        await console.shows("Roll ", "back to", "step 46", "step 69", "step 23")
        await console.press("escape")
        assert console.run.commands == []
        await console.press("R")
        await console.shows("step 46")
        await console.press("1")
        await console.until(lambda: bool(console.run.commands))
        assert console.run.commands == [cmd.RollBack(checkpoint="step-00000046")]


async def test_enter_takes_the_best_one(folder: RunFolder) -> None:
    async with watching(live(folder, SAVED)) as console:
        await console.press("R")
        await console.shows("step 46")
        await console.press("enter")
        await console.until(lambda: bool(console.run.commands))
        assert console.run.commands == [cmd.RollBack(checkpoint="step-00000046")]


async def test_a_run_without_checkpoints_says_so(tmp_path: Path) -> None:
    async with watching(live(RunFolder(tmp_path / "none"))) as console:
        await console.press("R")
        await console.shows("cannot roll back: the run has no checkpoint yet")
        assert console.run.commands == []


async def test_a_program_is_not_rolled_back(folder: RunFolder) -> None:
    run = live(folder, SAVED)
    run.snapshot.state.config = {"script": {"file": "train.py"}}
    async with watching(run) as console:
        await console.press("R")
        await console.shows("cannot roll back: only the training of a preset can be")


async def test_what_the_run_went_back_to_is_marked(folder: RunFolder) -> None:
    back = ev.RunResumed(step=23, epoch=1, checkpoint="step-00000023", rolled_back_from=69, time=NOON)
    async with watching(live(folder, SAVED), size=(120, 40)) as console:
        await console.shows("69")
        console.run.emit(back)
        await console.press("2")
        await console.shows("rolled back to step-00000023")


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
async def test_the_dialog_matches_its_golden_files(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    for step in range(100, 108):
        fake_checkpoint(folder, step)
    async with watching(live(folder, SAVED), size=size) as console:
        await console.press("R")
        await console.shows("back to")
        await console.settle()
        check_golden(f"rolling-back-{size[0]}x{size[1]}", console.text)
    assert roll_back.MOST == 9
