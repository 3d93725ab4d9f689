"""Data loader workers exit with the training process, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from torch.utils.data import Dataset

from torchconsole.engine.components.data.loader import Loader, LoaderOptions
from torchconsole.engine.components.data.loader_worker import IGNORED_SIGNALS

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


class Signalled(Dataset[list[int]]):
    """Sends its process what ends a job, then counts the signals that the children of the process ignore."""

    def __getitem__(self, index: int) -> list[int]:
        for number in IGNORED_SIGNALS:
            os.kill(os.getpid(), number)
        shown = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True)
        ignored = int(shown.stdout.split("SigIgn:")[1].split()[0], 16)
        pid = os.fork()
        if pid == 0:
            defaults = (signal.SIG_DFL, signal.default_int_handler)
            os._exit(sum(signal.getsignal(number) not in defaults for number in IGNORED_SIGNALS))
        left = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return [sum(ignored >> (number - 1) & 1 for number in IGNORED_SIGNALS), left]


def test_workers_ignore_signals_but_the_processes_they_start_do_not() -> None:
    loader = Loader(Signalled(), [0, 1], LoaderOptions(torch.device("cpu"), 1, False, 30))
    assert list(loader) == [[0, 0], [0, 0]]
    loader.use_workers(0)


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
