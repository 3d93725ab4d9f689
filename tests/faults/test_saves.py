"""SIGKILL during saves: there is always a complete checkpoint, and no leftovers."""

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
from tests.support.saving_process import COUNTING, SavingProcess
from torchconsole.engine.run.checkpoints import list_checkpoints
from torchconsole.engine.run.names import LAST
from torchconsole.engine.training.checkpoint import clean_leftovers, newest_valid, read_checkpoint, relink

Tally = Callable[[str], None]

KILLS = count(200)


@pytest.fixture(scope="module")
def saving() -> Iterator[SavingProcess]:
    saving = SavingProcess()
    yield saving
    saving.close()


def test_a_kill_at_a_random_moment_of_a_save_loses_no_reported_checkpoint(
    tmp_path: Path, saving: SavingProcess, tally: Tally
) -> None:
    chance = random.Random(0)
    mid_save = 0
    for _ in range(KILLS):
        pid = saving.fork(tmp_path)
        saving.wait_for_saves(2)
        # A random delay, not a wait for a condition.
        time.sleep(chance.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        reported = saving.wait().get("saved", 2)
        mid_save += any(path.name.startswith(".") for path in tmp_path.iterdir())
        assert state_after_the_next_start(tmp_path)["step"] >= reported
    assert mid_save, "no kill happened during a save"
    tally(f"killed {KILLS} times at random, {mid_save} of them during a save: the last checkpoint loads")


def test_a_kill_before_any_file_operation_of_a_save_loses_no_reported_checkpoint(
    tmp_path: Path, saving: SavingProcess, tally: Tally
) -> None:
    """Among others between a rename and the links, and in the rotation."""
    saving.fork(tmp_path / "complete", COUNTING)
    total = saving.wait()["operations"]
    numbers = every(range(1, total + 1))
    for number in numbers:
        folder = tmp_path / str(number)
        saving.fork(folder, number)
        numbers_reported = saving.wait()
        assert numbers_reported["ended"] == -signal.SIGKILL
        folder.mkdir(exist_ok=True)
        if "saved" in numbers_reported:
            assert state_after_the_next_start(folder)["step"] >= numbers_reported["saved"]
            assert (folder / "step-00000001").is_dir(), "the best"
            assert (folder / "step-00000004").is_dir() or numbers_reported["saved"] < 4, "the requested one"
    tally(f"killed before {len(numbers)} of {total} file operations: no reported checkpoint is lost")


def state_after_the_next_start(folder: Path) -> dict[str, Any]:
    """Clean up as the next start does, assert that all checkpoints are complete; returns the newest state."""
    clean_leftovers(folder)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    newest, state, problems = newest_valid(folder)
    assert problems == []
    for older in list_checkpoints(folder):
        assert float(read_checkpoint(older)["weights"][0, 0]) == int(older.name.removeprefix("step-"))
    relink(folder, newest, folder / "step-00000001")
    assert (folder / LAST).resolve() == newest
    return state
