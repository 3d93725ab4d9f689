"""Which checkpoints are kept, and save requests that arrive during a save."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.fault_runs import Runs
from tests.support.runs import lines_of
from torchconsole.engine.protocol.commands import SaveCheckpoint
from torchconsole.engine.run.checkpoints import Manifest, list_checkpoints
from torchconsole.engine.run.names import BEST, LAST
from torchconsole.engine.training.checkpoint import read_checkpoint
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason, SaveJob
from torchconsole.engine.training.command_handler import answer_saves
from torchconsole.engine.training.command_queue import Request

Tally = Callable[[str], None]


def job(step: int, reason: Reason = "last", *, revision: int = 0, requests: tuple[str, ...] = ()) -> SaveJob:
    manifest = Manifest(step=step, epoch=1, revision=revision, kept=reason == "command", metrics={})
    return SaveJob({"step": torch.tensor(step)}, manifest, reason, None, [request(id) for id in requests])


def request(id: str) -> Request:
    return Request(id, SaveCheckpoint(), "")


@pytest.mark.parametrize("keep", [-1, 0, 1, 2, 3, 4])
def test_the_best_the_newest_and_the_requested_checkpoints_survive_any_keep(
    tmp_path: Path, keep: int, tally: Tally
) -> None:
    """The best is the oldest, and the files' times are in the reverse order of the steps."""
    saver = AsyncCheckpointWriter(tmp_path, keep, lambda event: None)
    saver.start()
    series: list[tuple[int, Reason]] = [
        (900, "best"), (1000, "command"), (8000, "last"), (9800, "last"), (9900, "last"), (10000, "last"),
    ]  # fmt: skip
    for number, (step, reason) in enumerate(series):
        saver.submit(job(step, reason))
        saver.flush()
        for path in (tmp_path / f"step-{step:08d}").iterdir():
            os.utime(path, (2e9 - number, 2e9 - number))
        os.utime(path.parent, (2e9 - number, 2e9 - number))
    steps = [step for step, _ in series]
    expected = {900, 1000, 10000, *(steps if keep < 0 else steps[len(steps) - keep :])}
    left = [int(path.name.removeprefix("step-")) for path in list_checkpoints(tmp_path)]
    assert left == sorted(expected, reverse=True)
    assert ((tmp_path / BEST).resolve().name, (tmp_path / LAST).resolve().name) == (
        "step-00000900",
        "step-00010000",
    )
    tally(f"keep {keep}: {len(left)} of {len(series)} left, with the best, the newest and the requested ones")


def test_a_save_requested_during_a_save_joins_it(tmp_path: Path, tally: Tally) -> None:
    events: list[Any] = []
    disk = threading.Event()
    saver = AsyncCheckpointWriter(
        tmp_path, 2, events.append, lambda: disk.wait() and None, answer_saves(events.append)
    )
    saver.start()
    saver.submit(job(7, "command", requests=("first",)))
    assert saver.join_save(request("second"), revision=0)
    assert not saver.join_save(request("later"), revision=1), "the save in progress lacks the later change"
    saver.submit(job(8, "command", revision=1, requests=("later",)))
    disk.set()
    saver.flush()
    answers = {event.id: event.result["checkpoint"] for event in events if event.type == "CommandApplied"}
    seventh, eighth = str(tmp_path / "step-00000007"), str(tmp_path / "step-00000008")
    assert answers == {"first": seventh, "second": seventh, "later": eighth}
    assert not saver.join_save(request("too late"), revision=1)
    tally("a save requested during a save: one checkpoint, both acknowledged")


def test_saves_requested_at_once_are_all_acknowledged_with_one_checkpoint(runs: Runs, tally: Tally) -> None:
    folder = runs.make()
    runs.finish(folder, script={"log@9": [{"type": "SaveCheckpoint"}] * 5})
    answers = [line["result"]["checkpoint"] for line in lines_of(folder.journal_file)]
    assert answers == [str(folder.checkpoints / "step-00000009")] * 5
    assert read_checkpoint(Path(answers[0]))["progress"]["step"] == 9
    tally("5 saves requested at one step: 5 acknowledged with one checkpoint")
