"""Deleting single checkpoints of a run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.fake_checkpoints import fake_checkpoint, flip_a_bit
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.run.checkpoint_deletion import delete_checkpoint, deletion_question
from torchconsole.engine.run.checkpoints import CheckpointReader, list_abandoned, list_checkpoints
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import is_checkpoint_folder
from torchconsole.engine.run.record import RunRecord


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """An ended run with three checkpoints: the first is the best one, the last one the newest."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_record(
        RunRecord(name="run", folder=str(folder.path), status="stopped", created=time.time(), host="box")
    )
    fake_checkpoint(folder, 10, links=("best",))
    fake_checkpoint(folder, 20)
    fake_checkpoint(folder, 30, links=("last",))
    return folder


def test_the_links_follow(run: RunFolder) -> None:
    delete_checkpoint(run, "step-00000030")
    assert (run.checkpoints / "last").resolve().name == "step-00000020"
    delete_checkpoint(run, "step-00000010")
    assert not (run.checkpoints / "best").is_symlink()
    assert [folder.name for folder in list_checkpoints(run.checkpoints)] == ["step-00000020"]
    delete_checkpoint(run, "step-00000020")
    assert list(run.checkpoints.iterdir()) == []


def test_a_checkpoint_that_the_run_was_rolled_back_beyond_can_be_deleted(run: RunFolder) -> None:
    name = "abandoned-2-step-00000030"
    (run.checkpoints / "step-00000030").rename(run.checkpoints / name)
    assert deletion_question(run, name) == "The run keeps its other checkpoints."
    delete_checkpoint(run, name)
    assert [folder.name for folder in list_checkpoints(run.checkpoints)] == ["step-00000020", "step-00000010"]
    assert not list_abandoned(run.checkpoints)
    assert is_checkpoint_folder(f".removed-{name}"), "what an interruption leaves goes with the run"


def test_the_question_says_what_is_lost(run: RunFolder) -> None:
    assert "resumes from step-00000020" in deletion_question(run, "step-00000030")
    assert "the best one" in deletion_question(run, "step-00000010")
    assert deletion_question(run, "step-00000020") == "The run keeps its other checkpoints."
    flip_a_bit(run.checkpoints / "step-00000030")
    assert "resumes" in deletion_question(run, "step-00000020")


@pytest.mark.parametrize("name", ["best", "..", "step-00000099", "../run", "step-00000040"])
def test_only_checkpoints_of_the_run_are_deleted(run: RunFolder, name: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run.checkpoints / "step-00000040").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        delete_checkpoint(run, name)
    assert (tmp_path / "elsewhere").is_dir()
    assert (run.checkpoints / "step-00000010" / "manifest.json").exists()


def test_a_reader_reads_again_only_what_has_changed(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchconsole.engine.run import checkpoints

    reader = CheckpointReader(run)
    assert [(info.step, info.best, info.last) for info in reader.read()] == [
        (30, False, True),
        (20, False, False),
        (10, True, False),
    ]
    checked: list[str] = []
    real = checkpoints.verify
    monkeypatch.setattr(checkpoints, "verify", lambda folder: (checked.append(folder.name), real(folder))[1])
    flip_a_bit(run.checkpoints / "step-00000020")
    fake_checkpoint(run, 40, links=("last", "best"))
    found = reader.read()
    assert checked == ["step-00000040", "step-00000020"]
    assert [(info.step, info.best, bool(info.problem)) for info in found] == [
        (40, True, False),
        (30, False, False),
        (20, False, True),
        (10, False, False),
    ]
