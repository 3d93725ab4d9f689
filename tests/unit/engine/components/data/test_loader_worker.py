"""Data loader workers exit with the training process, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

MID_EPOCH = """
import sys
from tests.support.data_files import load
data = load("FakeData", size=64, image_size=[3, 8, 8], num_workers=2, batch_size=2, in_memory=False)
batches = data.train.epoch(0)
next(batches)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def mid_epoch() -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """A process in the middle of an epoch, which exits when its stdin is closed, and its two workers."""
    command = [sys.executable, "-c", MID_EPOCH]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=Path(__file__).parents[5], **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == b"ready\n"
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 2
        yield process, workers
        process.kill()


def test_workers_are_killed_with_their_parent(
    mid_epoch: tuple[subprocess.Popen[bytes], list[psutil.Process]],
) -> None:
    process, workers = mid_epoch
    process.send_signal(signal.SIGKILL)
    assert all_exit(workers)


def test_workers_end_without_output_when_the_program_ends(
    mid_epoch: tuple[subprocess.Popen[bytes], list[psutil.Process]],
) -> None:
    process, workers = mid_epoch
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert all_exit(workers)


def all_exit(processes: list[psutil.Process]) -> bool:
    """Whether all exit within 10 seconds; a zombie counts as exited."""
    deadline = time.monotonic() + 10
    while any(alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
