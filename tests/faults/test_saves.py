"""SIGKILL inside a save, again and again: there is always a whole checkpoint, and nothing stays behind."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_counts import count, every
from tests.support.saving_process import COUNTING, Saving
from torchconsole.engine.run.manifest import LAST, list_checkpoints
from torchconsole.engine.training.checkpoint import clean_leftovers, newest_valid, read_checkpoint, relink

Tally = Callable[[str], None]

KILLS = count(200)


@pytest.fixture(scope="module")
def saving() -> Iterator[Saving]:
    saving = Saving()
    yield saving
    saving.close()


def test_killed_at_random_while_it_saves(tmp_path: Path, saving: Saving, tally: Tally) -> None:
    chance = random.Random(0)
    in_mid_save = 0
    for _ in range(KILLS):
        pid = saving.fork(tmp_path)
        saving.await_saves(2)
        # Nothing to wait for: the moment is to be any.
        time.sleep(chance.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        reported = saving.wait().get("saved", 2)
        in_mid_save += any(path.name.startswith(".") for path in tmp_path.iterdir())
        assert state_after_the_next_start(tmp_path)["step"] >= reported
    assert in_mid_save, "no kill came inside a save"
    tally(f"2: killed {KILLS} times while it saves, {in_mid_save} of them in mid-save: the last one loads")


def test_killed_before_every_file_operation(tmp_path: Path, saving: Saving, tally: Tally) -> None:
    """Between a rename and the links, between the links and the rotation, in a rotation, in a replacement."""
    saving.fork(tmp_path / "whole", COUNTING)
    total = saving.wait()["operations"]
    numbers = every(range(1, total + 1))
    for number in numbers:
        folder = tmp_path / str(number)
        saving.fork(folder, number)
        told = saving.wait()
        assert told["ended"] == -signal.SIGKILL
        folder.mkdir(exist_ok=True)
        if "saved" in told:
            assert state_after_the_next_start(folder)["step"] >= told["saved"]
            assert (folder / "step-00000001").is_dir(), "the best"
            assert (folder / "step-00000004").is_dir() or told["saved"] < 4, "the one saved by hand"
    tally(f"3: killed before {len(numbers)} of {total} file operations: the newest is found, nothing is lost")


def state_after_the_next_start(folder: Path) -> dict[str, Any]:
    """The newest state, where every checkpoint that is there is whole and nothing else is left."""
    clean_leftovers(folder)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    newest, state, problems = newest_valid(folder)
    assert problems == []
    for older in list_checkpoints(folder):
        assert float(read_checkpoint(older)["weights"][0, 0]) == int(older.name.removeprefix("step-"))
    relink(folder, newest, folder / "step-00000001")
    assert (folder / LAST).resolve() == newest
    return state
