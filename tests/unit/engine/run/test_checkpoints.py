"""How commands name and list checkpoints."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_checkpoints import fake_checkpoint, flip_a_bit
from tests.support.runs import make_folder
from torchconsole.engine.errors import CheckpointError, RunError
from torchconsole.engine.run.checkpoint_deletion import deletion_question
from torchconsole.engine.run.checkpoints import (
    CheckpointReader,
    describe_checkpoints,
    find_target,
    fingerprint,
    newest_intact,
    verified,
)
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import BEST, LAST, MANIFEST_FILE, STATE_FILE, is_checkpoint_file
from torchconsole.engine.run.resume_checks import inherit


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that has saved at steps 9900 (the best), 9950 (by hand) and 10000 (the last)."""
    run = make_folder(tmp_path / "runs", status="finished")
    fake_checkpoint(run, 9900, epoch=1, links=(BEST,))
    fake_checkpoint(run, 9950, epoch=2, kept=True)
    fake_checkpoint(run, 10000, epoch=3, links=(LAST,))
    return run


def test_a_listing_describes_each_checkpoint_newest_first(run: RunFolder) -> None:
    listed = describe_checkpoints(run)
    roles = [(it.step, it.epoch, it.best, it.last, it.kept, it.problem) for it in listed]
    assert roles == [
        (10000, 3, False, True, False, ""),
        (9950, 2, False, False, True, ""),
        (9900, 1, True, False, False, ""),
    ]
    assert listed[0].metrics == {"val/loss": 1 / 10000}
    assert listed[0].bytes == len(b"state of 10000")


def test_a_listing_ends_with_what_the_run_was_rolled_back_beyond(run: RunFolder) -> None:
    for step, name in ((10000, "abandoned-step-00010000"), (9950, "abandoned-2-step-00009950")):
        (run.checkpoints / f"step-{step:08d}").rename(run.checkpoints / name)
    listed = [(it.name, it.step, it.abandoned, it.problem) for it in describe_checkpoints(run)]
    assert listed == [
        ("step-00009900", 9900, False, ""),
        ("abandoned-step-00010000", 10000, True, ""),
        ("abandoned-2-step-00009950", 9950, True, ""),
    ]


def test_a_listing_names_damaged_files(run: RunFolder) -> None:
    flip_a_bit(run.checkpoints / LAST)
    (run.checkpoints / "step-00009950" / MANIFEST_FILE).unlink()
    os.truncate(run.checkpoints / BEST / STATE_FILE, 3)
    problems = [it.problem for it in describe_checkpoints(run)]
    damaged = "state.pt: is damaged: its size or sha256 differs from the manifest"
    assert problems == [damaged, "is not a complete checkpoint: No such file or directory", damaged]


def test_a_checkpoint_of_several_processes_has_a_part_of_each(run: RunFolder) -> None:
    checkpoint = (run.checkpoints / LAST).resolve()
    content = json.loads((checkpoint / MANIFEST_FILE).read_text())
    for name in ("__0_0.distcp", "__1_0.distcp", ".metadata"):
        (checkpoint / name).write_bytes(b"part")
        content["files"][name] = fingerprint(checkpoint / name)
        assert is_checkpoint_file(name)
    (checkpoint / MANIFEST_FILE).write_text(json.dumps(content))
    reader = CheckpointReader(run)
    assert [(it.problem, it.bytes) for it in reader.read()[:1]] == [("", len(b"state of 10000") + 12)]
    inherit(run, checkpoint, branch := make_folder(run.path.parent, "branch"))
    assert {path.name for path in (branch.checkpoints / checkpoint.name).iterdir()} == {
        STATE_FILE, MANIFEST_FILE, *content["files"],
    }  # fmt: skip
    (checkpoint / "__1_0.distcp").write_bytes(b"other content")
    problem = "__1_0.distcp: is damaged: its size or sha256 differs from the manifest"
    assert reader.read()[0].problem == problem


@pytest.mark.parametrize(
    ("version", "problem"), [(99, "format 99 is newer"), (1, "format 1 is that of an older")]
)
def test_a_checkpoint_of_another_program_is_not_called_damaged(
    run: RunFolder, version: int, problem: str
) -> None:
    manifest = run.checkpoints / LAST / MANIFEST_FILE
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": version}))
    assert problem in describe_checkpoints(run)[0].problem


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("{name}@9950", 9950),
        ("{name}@step-00009950", 9950),
        ("{name}@best", 9900),
        ("{folder}@last", 10000),
        ("{name}/checkpoints/step-00009900", 9900),
        ("{folder}/checkpoints/step-00009900", 9900),
        ("{folder}/checkpoints/best", 9900),
    ],
)
def test_a_checkpoint_can_be_named_in_several_ways(run: RunFolder, text: str, step: int) -> None:
    target = find_target(text.format(name=run.name, folder=run.path), run.path.parent)
    assert target.run == run
    assert target.checkpoint is not None
    assert target.checkpoint.resolve().name == f"step-{step:08}"


def test_a_run_stands_for_its_best_or_the_requested_checkpoint(run: RunFolder) -> None:
    target = find_target(run.name, run.path.parent)
    assert target.checkpoint is None
    assert target.pick().resolve().name == "step-00009900"
    assert target.pick(LAST).resolve().name == "step-00010000"
    (run.checkpoints / BEST).unlink()
    assert target.pick().name == "step-00010000"


def test_a_checkpoint_outside_a_run_folder_has_no_run(run: RunFolder, tmp_path: Path) -> None:
    elsewhere = (run.checkpoints / BEST).resolve().rename(tmp_path / "mine")
    assert find_target(str(elsewhere)).run is None
    assert find_target(str(elsewhere)).pick() == elsewhere


def test_an_unknown_checkpoint_is_refused_with_the_available_ones(run: RunFolder) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint '7'; available: best, last, step-00010000, "):
        find_target(f"{run.name}@7", run.path.parent)
    (run.checkpoints / BEST).unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint 'best'; available: last, step-00010000, "):
        find_target(f"{run.name}@best", run.path.parent)
    with pytest.raises(RunError, match="no run is named 'another'"):
        find_target("another@7", run.path.parent)
    with pytest.raises(CheckpointError, match="no checkpoint '999"):
        find_target(f"{run.name}@{'9' * 5000}", run.path.parent)


def test_a_damaged_checkpoint_is_refused_and_an_older_one_suggested(run: RunFolder) -> None:
    flip_a_bit(run.checkpoints / LAST)
    with pytest.raises(CheckpointError, match=r"step-00010000/state.pt: is damaged.*before it: .*9950$"):
        verified(run.checkpoints / LAST)
    flip_a_bit(run.checkpoints / BEST)
    with pytest.raises(CheckpointError, match="there is no valid checkpoint before it"):
        verified(run.checkpoints / BEST)


def foreign(run: RunFolder, step: int, **more: Any) -> Path:
    """Make the checkpoint of a step look like one of another library."""
    folder = run.checkpoints / f"step-{step:08d}"
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(
        json.dumps(manifest | {"made_by": "Lightning", "resume": "fit(ckpt_path=PATH)"} | more)
    )
    return folder


def test_a_checkpoint_of_another_library_says_what_it_is_and_how_to_resume_it(run: RunFolder) -> None:
    folder = foreign(run, 9950)
    info = describe_checkpoints(run)[1]
    resume = f"fit(ckpt_path='{folder / STATE_FILE}')"
    assert (info.made_by, info.resume, info.problem) == ("Lightning", resume, "")
    with pytest.raises(CheckpointError) as raised:
        verified(folder)
    assert str(raised.value) == f"{folder}: is a checkpoint of Lightning; to resume from it: {resume}"
    assert newest_intact(run) == run.checkpoints / "step-00010000"


def test_the_files_of_a_checkpoint_may_be_elsewhere(run: RunFolder, tmp_path: Path) -> None:
    place = tmp_path / "checkpoint-5"
    place.mkdir()
    (place / "a").write_text("a")
    (place / "b").write_text("b")
    files = {name: fingerprint(place / name) for name in ("a", "b")}
    folder = foreign(run, 9950, location=str(place), files=files)
    (folder / STATE_FILE).unlink()
    reader = CheckpointReader(run)
    assert reader.read()[1].resume == f"fit(ckpt_path='{place}')"
    assert f"its files stay in {place}" in deletion_question(run, folder.name)
    (place / "a").write_text("c")
    assert "a: is damaged" in reader.read()[1].problem
    (place / "a").unlink()
    (place / "b").unlink()
    place.rmdir()
    assert reader.read()[1].problem == f"{place}: was removed, or is on a disk that is away"
