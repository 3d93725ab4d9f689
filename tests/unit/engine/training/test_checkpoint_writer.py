"""The checkpoint writer: what it reports as saved is complete, and no failure prevents the next save."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.runs import limit_file_size, wait_until
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import SaveCheckpoint
from torchconsole.engine.run.checkpoints import Manifest, read_manifest
from torchconsole.engine.run.names import BEST, LAST
from torchconsole.engine.training.checkpoint import point, read_checkpoint, relink, write_checkpoint
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason, SaveJob
from torchconsole.engine.training.command_handler import answer_saves
from torchconsole.engine.training.command_queue import Request


class Saving:
    """A writer on its own folder, with the events that it emits."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.emitted: list[Any] = []
        self.writer = AsyncCheckpointWriter(
            folder, keep, self.emitted.append, answer=answer_saves(self.emitted.append)
        )
        self.writer.start()

    def save(self, step: int, reason: Reason = "last", *, revision: int = 0, state: Any = None) -> list[Any]:
        """Save and wait; return the events of it."""
        before = len(self.emitted)
        manifest = Manifest(step=step, epoch=1, revision=revision, kept=reason == "command", metrics={})
        requests = [Request(f"{step}", SaveCheckpoint(), "")] if reason == "command" else []
        self.writer.submit(SaveJob(state or {"x": torch.ones(3)}, manifest, reason, None, requests))
        self.writer.flush()
        return self.emitted[before:]


@pytest.fixture
def saving(tmp_path: Path) -> Saving:
    return Saving(tmp_path)


def test_saving_the_same_state_again_keeps_the_existing_checkpoint(saving: Saving) -> None:
    saving.save(5)
    written = (saving.folder / "step-00000005" / "state.pt").stat().st_mtime_ns
    emitted = saving.save(5, "command")
    assert [event.type for event in emitted] == ["CheckpointSaved", "CommandApplied"]
    assert (saving.folder / "step-00000005" / "state.pt").stat().st_mtime_ns == written
    assert read_manifest(saving.folder / "step-00000005").kept


def test_another_state_of_the_same_step_replaces_it_and_is_still_kept(saving: Saving) -> None:
    saving.save(5, "command")
    saving.save(5, revision=1, state={"x": torch.zeros(3)})
    assert read_checkpoint(saving.folder / "step-00000005")["x"].tolist() == [0, 0, 0]
    assert read_manifest(saving.folder / "step-00000005").kept


def test_a_damaged_checkpoint_of_an_earlier_worker_is_written_again(saving: Saving) -> None:
    manifest = Manifest(step=5, epoch=1, revision=0, kept=False, metrics={})
    damaged = write_checkpoint(saving.folder, {"x": torch.ones(3)}, manifest)
    os.truncate(damaged / "state.pt", 10)
    saving.save(5, "command")
    assert read_checkpoint(damaged)["x"].tolist() == [1, 1, 1]


def test_a_state_that_cannot_be_written_is_reported_and_the_next_one_saved(saving: Saving) -> None:
    emitted = saving.save(5, "command", state={"x": lambda: None})
    assert [event.type for event in emitted] == ["CheckpointFailed", "CommandRejected"]
    assert not list(saving.folder.iterdir())
    assert [event.type for event in saving.save(6)] == ["CheckpointSaved"]


def test_a_file_in_place_of_the_folder_is_named_as_the_cause(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("")
    [failed] = Saving(tmp_path / "checkpoints").save(5)
    assert isinstance(failed, ev.CheckpointFailed)
    assert failed.reason == f"checkpoint at step 5 not saved: File exists ({tmp_path / 'checkpoints'})"


def test_a_best_that_could_not_be_written_is_tried_again_after_the_next_save(saving: Saving) -> None:
    saving.save(5, "best")
    with limit_file_size(1000):
        [failed] = saving.save(7, "best", state={"x": torch.ones(999)})
    assert failed.type == "CheckpointFailed"
    assert (saving.folder / BEST).resolve().name == "step-00000005"
    assert saving.writer.read_best(7)["x"].shape == (999,)
    emitted = saving.save(9)
    assert [(event.type, event.step) for event in emitted] == [("CheckpointSaved", 9), ("CheckpointSaved", 7)]
    assert (saving.folder / BEST).resolve().name == "step-00000007"
    assert (saving.folder / LAST).resolve().name == "step-00000009"
    assert saving.writer.read_best(7)["x"].shape == (999,)


def test_links_are_repaired_for_a_resume(tmp_path: Path) -> None:
    saving = Saving(tmp_path, keep=1)
    saving.save(5, "best")
    saving.save(9)
    (tmp_path / BEST).unlink()
    relink(tmp_path, tmp_path / "step-00000009", tmp_path / "step-00000005")
    saving.save(12)
    assert (tmp_path / BEST).resolve().name == "step-00000005"
    assert (tmp_path / LAST).resolve().name == "step-00000012"
    point(tmp_path, LAST, tmp_path / "step-00000005")
    relink(tmp_path, tmp_path / "step-00000012", tmp_path / "step-00000099")
    assert (tmp_path / BEST).resolve().name == "step-00000005"


def test_a_frequent_best_is_delayed_replaced_by_newer_ones_and_delays_no_other_save(
    saving: Saving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchconsole.engine.training.checkpoint_writer.REST", 1e6)
    submit = saving.writer.submit
    for step in (1, 2, 3):
        manifest = Manifest(step=step, epoch=1, revision=0, kept=False, metrics={})
        submit(SaveJob({"x": torch.ones(3)}, manifest, "best", None))
        if step == 1:
            wait_until(lambda: saving.emitted)
    saving.writer.flush()
    assert [event.step for event in saving.emitted] == [1, 3]
    assert saving.save(4)[0].step == 4
