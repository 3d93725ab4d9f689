"""A checkpoint is complete or not there, and a damaged one is refused with its name."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.run.checkpoints import (
    Fingerprint,
    Manifest,
    list_checkpoints,
    read_manifest,
    verify_files,
)
from torchconsole.engine.run.names import BEST, LAST, MANIFEST_FILE, STATE_FILE
from torchconsole.engine.training.checkpoint import (
    clean_leftovers,
    newest_valid,
    point,
    read_checkpoint,
    record_checkpoint,
    rotate,
    write_checkpoint,
)

STATE: dict[str, Any] = {"weights": torch.arange(6.0).reshape(2, 3), "step": 3, "nested": {"lr": [0.1]}}


def manifest(step: int, *, kept: bool = False, revision: int = 0) -> Manifest:
    return Manifest(step=step, epoch=1, revision=revision, kept=kept, metrics={"val/loss": 0.5})


def write(folder: Path, *steps: int) -> list[Path]:
    return [write_checkpoint(folder, STATE, manifest(step)) for step in steps]


def test_a_checkpoint_reads_back(tmp_path: Path) -> None:
    [folder] = write(tmp_path, 3)
    state = read_checkpoint(folder)
    assert torch.equal(state["weights"], STATE["weights"])
    assert state["nested"] == {"lr": [0.1]}
    assert folder.name == "step-00000003"
    assert read_manifest(folder).metrics == {"val/loss": 0.5}


def test_one_flipped_bit_is_refused(tmp_path: Path) -> None:
    [folder] = write(tmp_path, 3)
    data = bytearray((folder / STATE_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / STATE_FILE).write_bytes(data)
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(folder)


def test_a_truncated_checkpoint_is_skipped_for_the_previous_one(tmp_path: Path) -> None:
    older, newer = write(tmp_path, 9900, 10000)
    os.truncate(newer / STATE_FILE, 100)
    folder, _, problems = newest_valid(tmp_path)
    assert folder == older
    assert newer.name in problems[0]


def test_a_pickle_payload_is_refused_without_running_it(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (mark.touch, ())

    [folder] = write(tmp_path, 3)
    torch.save({"weights": Payload()}, folder / STATE_FILE)
    described = json.loads((folder / MANIFEST_FILE).read_text())
    described["files"][STATE_FILE] = _fingerprint(folder / STATE_FILE)
    (folder / MANIFEST_FILE).write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="not a checkpoint of plain tensors"):
        read_checkpoint(folder)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload()))
    assert mark.exists()


def test_a_newer_format_is_refused_with_a_clear_message(tmp_path: Path) -> None:
    [folder] = write(tmp_path, 3)
    described = json.loads((folder / MANIFEST_FILE).read_text()) | {"format_version": 99, "news": 1}
    (folder / MANIFEST_FILE).write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="format 99 is newer"):
        read_checkpoint(folder)


def test_without_any_checkpoint_there_is_nothing_to_resume_from(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="none was saved"):
        newest_valid(tmp_path)


def test_saving_a_step_again_replaces_its_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, 3)
    folder = write_checkpoint(tmp_path, {"step": 4}, manifest(3, revision=1))
    assert read_checkpoint(folder) == {"step": 4}
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_what_another_library_has_saved_is_recorded(tmp_path: Path, is_elsewhere: bool) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "state.ckpt").write_bytes(b"state")
    described = replace(manifest(3), made_by="Other", location=str(place) if is_elsewhere else "")
    folder = record_checkpoint(tmp_path / "checkpoints", described, [place / "state.ckpt"])
    assert (place / "state.ckpt").exists() is is_elsewhere
    assert (folder / "state.ckpt").exists() is not is_elsewhere
    assert verify_files(folder).bytes == len(b"state")
    with pytest.raises(CheckpointError, match="is a checkpoint of Other"):
        read_checkpoint(folder)


def test_nothing_is_saved_into_a_run_that_was_removed(tmp_path: Path) -> None:
    """Half of a run's folder would look like a lost run."""
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "run" / "checkpoints", 3)
    assert not [*tmp_path.iterdir()]


def test_leftovers_of_a_killed_save_are_cleaned_up(tmp_path: Path) -> None:
    [folder] = write(tmp_path, 3)
    (tmp_path / ".writing-step-00000004").mkdir()
    folder.rename(tmp_path / ".replaced-step-00000003")
    clean_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]
    assert read_checkpoint(folder)["step"] == 3


@pytest.mark.parametrize(
    ("keep", "left"),
    [(-1, [1, 2, 3, 9900, 10000]), (0, [1, 2, 10000]), (1, [1, 2, 10000]), (2, [1, 2, 9900, 10000])],
)
def test_rotation_keeps_the_best_the_last_and_those_saved_on_request(
    tmp_path: Path, keep: int, left: list[int]
) -> None:
    folders = write(tmp_path, 1, 3, 9900, 10000)
    write_checkpoint(tmp_path, STATE, manifest(2, kept=True))
    point(tmp_path, BEST, folders[0])
    point(tmp_path, LAST, folders[-1])
    rotate(tmp_path, keep)
    assert sorted(int(path.name.removeprefix("step-")) for path in list_checkpoints(tmp_path)) == left


def test_a_folder_that_cannot_be_written_raises_and_leaves_nothing_behind(tmp_path: Path) -> None:
    blocked = tmp_path / "checkpoints"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="exists"):
        write(blocked, 1)


def _fingerprint(path: Path) -> dict[str, Any]:
    import hashlib

    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_part_that_is_not_in_the_folder_makes_no_checkpoint(tmp_path: Path, content: bytes | None) -> None:
    """It was written to where the folder had been before it was moved."""

    def write_elsewhere(folder: Path) -> dict[str, Fingerprint]:
        if content is not None:
            (folder / "part").write_bytes(content)
        return {"part": Fingerprint(bytes=9, sha256="")}

    with pytest.raises(FileNotFoundError):
        write_checkpoint(tmp_path, STATE, manifest(3), write_elsewhere)
    assert list(tmp_path.iterdir()) == []
