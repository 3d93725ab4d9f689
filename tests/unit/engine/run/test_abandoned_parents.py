"""A new run from a checkpoint of a way that its parent has left: it inherits that way, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.fake_checkpoints import fake_checkpoint
from tests.support.runs import lines_of, make_folder
from torchconsole.engine.run.checkpoints import list_checkpoints, read_manifest
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.resume_checks import inherit


@pytest.fixture
def parent(tmp_path: Path) -> RunFolder:
    """A run of one evaluation a step, which a test fills."""
    return make_folder(tmp_path, "parent")


class Way:
    """Writes what a worker leaves of a training, a second for each step."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.seq = 0
        self.time = 1000.0

    def train(self, first: int, last: int) -> None:
        for step in range(first, last + 1):
            self._line(kind="train", step=step, **{"train/loss": self.time})

    def save(self, step: int, best: int | None = None) -> Path:
        self.time += 0.1
        return fake_checkpoint(self.run, step, best_step=best, created=self.time)

    def roll_back(self, step: int, left: int, abandoned: dict[Path, str]) -> None:
        self._line(kind="resumed", step=step, rolled_back_from=left, checkpoint=f"step-{step:08d}")
        for folder, name in abandoned.items():
            folder.rename(folder.with_name(name))

    def _line(self, **content: object) -> None:
        self.seq += 2
        self.time += 1
        line = {"seq": self.seq, "epoch": 0, "time": self.time, "active_seconds": 1.0, **content}
        with self.run.metrics_file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        with self.run.journal_file.open("a") as file:
            file.write(json.dumps({"seq": self.seq + 1, "step": content["step"]}) + "\n")


def branch_of(parent: RunFolder, name: str) -> RunFolder:
    branch = make_folder(parent.path.parent, f"branch-{name}")
    inherit(parent, parent.checkpoints / name, branch)
    return branch


def steps(run: RunFolder) -> list[int]:
    return [line["step"] for line in lines_of(run.metrics_file)]


def test_the_checkpoint_is_found_by_a_resume_and_the_lines_end_where_its_way_was_left(
    parent: RunFolder,
) -> None:
    way = Way(parent)
    way.train(1, 4)
    way.save(4)
    way.train(5, 8)
    way.roll_back(4, 8, {way.save(8): "abandoned-step-00000008"})
    way.train(5, 7)
    way.roll_back(4, 7, {way.save(6): "abandoned-step-00000006"})
    parent.history_file.write_text("{}")
    branch = branch_of(parent, "abandoned-step-00000008")
    assert [path.name for path in list_checkpoints(branch.checkpoints)] == ["step-00000008"]
    assert steps(branch) == [*range(1, 9)]
    assert [line["step"] for line in lines_of(branch.journal_file)] == [*range(1, 9)]
    assert not branch.history_file.exists(), "it has the lines of the later way"
    branch = branch_of(parent, "abandoned-step-00000006")
    assert steps(branch) == [*range(1, 9), 4, *range(5, 8)]


@pytest.mark.parametrize(("name", "first_way"), [("abandoned-step-00000009", True), ("step-00000010", False)])
def test_the_best_checkpoint_is_that_of_the_same_way(parent: RunFolder, name: str, first_way: bool) -> None:
    """Each way has a checkpoint of step 6, and one after it of which that is the best one."""
    way = Way(parent)
    way.train(1, 6)
    first = way.save(6, best=6)
    way.train(7, 9)
    last = way.save(9, best=6)
    way.roll_back(4, 9, {last: "abandoned-step-00000009", first: "abandoned-step-00000006"})
    way.train(5, 6)
    second = way.save(6, best=6)
    way.train(7, 10)
    way.save(10, best=6)
    branch = branch_of(parent, name)
    best = parent.checkpoints / "abandoned-step-00000006" if first_way else second
    assert read_manifest(branch.checkpoints / "step-00000006") == read_manifest(best)


def test_a_best_checkpoint_before_the_ways_part_is_that_of_both(parent: RunFolder) -> None:
    """It was written again after the roll back to it, with another lr."""
    way = Way(parent)
    way.train(1, 4)
    best = way.save(4, best=4)
    way.train(5, 8)
    way.roll_back(4, 8, {way.save(8, best=4): "abandoned-step-00000008"})
    (best / "manifest.json").unlink()
    (best / "state.pt").unlink()
    best.rmdir()
    best = way.save(4, best=4)
    branch = branch_of(parent, "abandoned-step-00000008")
    assert read_manifest(branch.checkpoints / "step-00000004") == read_manifest(best)


def test_a_best_checkpoint_that_is_gone_is_not_replaced_by_another_of_its_step(parent: RunFolder) -> None:
    way = Way(parent)
    way.train(1, 9)
    way.roll_back(4, 9, {way.save(9, best=6): "abandoned-step-00000009"})
    way.train(5, 6)
    way.save(6, best=6)
    branch = branch_of(parent, "abandoned-step-00000009")
    assert [path.name for path in list_checkpoints(branch.checkpoints)] == ["step-00000009"]
