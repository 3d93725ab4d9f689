"""The checkpoints pane: the list, what can be done with a checkpoint, and deleting one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fake_checkpoints import fake_checkpoint, flip_a_bit
from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs
from tests.support.watching import Console, Host, check_golden, watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.checkpoints import CheckpointInfo
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import MANIFEST_FILE
from torchconsole.engine.run.own_programs import note_program
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.screens.checkpoint_tasks import StartFromCheckpoint
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets import checkpoints_pane
from torchconsole.tui.widgets.checkpoints_pane import CheckpointsPane

SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """An ended run with three checkpoints, the second of which is damaged."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_record(RunRecord(name="run", folder=str(run.path), status="stopped", created=NOON, host="box"))
    fake_checkpoint(run, 23, links=("best",))
    flip_a_bit(fake_checkpoint(run, 46))
    fake_checkpoint(run, 69, links=("last",), kept=True)
    monkeypatch.setattr(checkpoints_pane, "format_age", lambda seconds: "2m")
    return run


@asynccontextmanager
async def shown(
    folder: RunFolder,
    size: tuple[int, int] = (120, 40),
    *,
    live: bool = True,
    config: dict[str, object] | None = None,
) -> AsyncIterator[Console]:
    """Open the pane on a run with this folder."""
    end = ev.RunFinished(status="stopped", reason="asked to stop", step=69, epoch=3, time=NOON)
    run = ScriptedRun(*BEGINNING, *epochs(1, 3), *([] if live else [end]), live=live)
    run.snapshot.state.folder = str(folder.path)
    run.snapshot.state.config = config or {}
    async with watching(run, size=size) as console:
        await console.press("7")
        await console.until(lambda: len(pane(console).rows()) == 3)
        await console.settle()
        yield console


def pane(console: Console) -> CheckpointsPane:
    """Return the pane."""
    return console.app.run_screen.query_one(CheckpointsPane)


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
async def test_the_pane_matches_its_golden_files(folder: RunFolder, size: tuple[int, int]) -> None:
    async with shown(folder, size) as console:
        await console.press("7")
        check_golden(f"checkpoints-{size[0]}x{size[1]}", console.text)


async def test_the_ages_of_an_ended_run_grow(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shown(folder, live=False) as console:
        await console.shows(" 2m ")
        monkeypatch.setattr(checkpoints_pane, "format_age", lambda seconds: "3m")
        console.app.now += 60
        await console.shows(" 3m ")


async def test_a_damaged_checkpoint_says_what_is_wrong(folder: RunFolder) -> None:
    async with shown(folder) as console:
        await console.shows("3, ", "1 damaged", "✗ ", "its size or sha256 differs")
        await console.press("j", "enter")
        await console.shows("Checkpoint of step 46", "It is damaged")
        assert "evaluate it" not in console.text


async def test_enter_offers_what_can_be_done(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[StartFromCheckpoint] = []
    monkeypatch.setattr(
        Host, "on_start_from_checkpoint", lambda self, message: received.append(message), raising=False
    )
    async with shown(folder) as console:
        await console.press("enter")
        await console.shows("Checkpoint of step 69", "as a new run", "branch", "evaluate", "export", "delete")
        await console.press("b")
        await console.until(lambda: received)
        await console.press("G", "enter", "r")
        await console.until(lambda: len(received) == 2)
    assert [(message.checkpoint.name, message.changes) for message in received] == [
        ("step-00000069", True),
        ("step-00000023", False),
    ]


async def test_the_newest_one_of_an_ended_run_resumes_the_run(folder: RunFolder) -> None:
    async with shown(folder, live=False) as console:
        await console.press("enter")
        await console.shows("resume the run from it")
        await console.press("escape", "j", "j", "enter")
        await console.shows("resume from it, as a new run")


async def test_a_checkpoint_is_deleted_after_a_question(folder: RunFolder) -> None:
    async with shown(folder) as console:
        await console.press("D")
        await console.shows("Delete step-00000069?", "resumes from step-00000046", "cannot be undone")
        await console.press("escape")
        assert len(pane(console).rows()) == 3
        await console.press("G", "delete")
        await console.shows("Delete step-00000023?", "the best one")
        await console.press("y")
        await console.until(lambda: len(pane(console).rows()) == 2)
        await console.shows("deleted step-00000023")
    assert not (folder.checkpoints / "step-00000023").exists()


async def test_a_console_that_only_watches_deletes_nothing(folder: RunFolder) -> None:
    async with shown(folder) as console:
        console.app.run_screen.state.read_only = "attached read-only"
        await console.press("D")
        await console.shows("cannot delete a checkpoint: attached read-only")
    assert len(list(folder.checkpoints.glob("step-*"))) == 3


async def test_the_list_is_sorted_and_searched(folder: RunFolder) -> None:
    async with shown(folder) as console:
        assert [row.step for row in pane(console).rows()] == [69, 46, 23]
        await console.press("O")
        assert [row.step for row in pane(console).rows()] == [23, 46, 69]
        await console.press("O", "o")
        assert [row.step for row in pane(console).rows()] == [69, 46, 23]
        await console.press("O")
        assert [row.step for row in pane(console).rows()] == [23, 46, 69]
        await console.press("slash", *"kept", "enter")
        await console.shows("1 of 1")
        assert pane(console).text_to_copy().endswith("step-00000069")


async def test_v_shows_only_what_is_not_rotated_away(folder: RunFolder) -> None:
    async with shown(folder) as console:
        await console.press("v")
        await console.shows("best, last and kept")
        assert all(row.best or row.last or row.kept for row in pane(console).rows())


async def test_space_steers_the_run_also_in_a_list(folder: RunFolder) -> None:
    async with shown(folder) as console:
        before = len(console.run.commands)
        await console.press("space")
        assert [type(command).__name__ for command in console.run.commands[before:]] == ["PauseRun"]


async def test_a_new_checkpoint_appears(folder: RunFolder) -> None:
    async with shown(folder) as console:
        fake_checkpoint(folder, 92, links=("last",))
        console.run.emit(
            ev.CheckpointSaved(seq=999, step=92, epoch=4, name="step-00000092", reason="last", time=NOON)
        )
        await console.until(lambda: len(pane(console).rows()) == 4)
        await console.shows("▼ 92")


async def test_a_double_click_acts_like_enter(folder: RunFolder) -> None:
    async with shown(folder) as console:
        await console.pilot.click(CheckpointsPane, offset=(10, 2), times=2)
        await console.shows("Checkpoint of step 69")


async def test_a_checkpoint_of_another_library_says_how_to_resume_from_it(folder: RunFolder) -> None:
    manifest = folder.checkpoints / "step-00000023" / MANIFEST_FILE
    described = {"made_by": "Lightning", "resume": "trainer.fit(model, ckpt_path=PATH)"}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | described))
    async with shown(folder) as console:
        await console.shows("best, Lightning")
        await console.press("j", "j", "enter")
        await console.shows("A checkpoint of Lightning", "To resume from it", "trainer.fit(model")
        assert "evaluate it" not in console.text


@pytest.mark.parametrize("keeps_its_state", [False, True])
async def test_only_what_a_program_can_do_with_its_checkpoints_is_offered(
    folder: RunFolder, keeps_its_state: bool
) -> None:
    if keeps_its_state:
        note_program(folder, ["model"], "")
    async with shown(folder, config={"script": {"file": "/train.py"}}) as console:
        await console.press("enter")
        offered = "with other arguments" if keeps_its_state else "weights_only=True)"
        await console.shows("Checkpoint of step 69", offered, "delete")
        assert ("resume from it" in console.text) is keeps_its_state
        assert "evaluate it" not in console.text
        assert "export" not in console.text


def test_the_time_for_a_long_list_grows_with_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    formatted: list[float] = []

    def format_bytes(size: int) -> str:
        formatted.append(size)
        return "1 MB"

    monkeypatch.setattr(checkpoints_pane, "format_bytes", format_bytes)
    listed = CheckpointsPane(ConsoleState(RunState(name="run", folder="/run"), clock=lambda: NOON))
    first = CheckpointInfo("step-0", "/run", 0, 0, False, False, False, {"val/loss": 0.5}, 1, NOON, "")
    listed._found = [replace(first, step=step) for step in range(300)]
    assert len(listed.heading(100)) == 1
    assert all(len(listed.row_lines(row, 100)) == 1 for row in listed.all_rows())
    assert len(formatted) < 3 * 300
