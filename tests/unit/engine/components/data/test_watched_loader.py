"""A data loader worker that dies is reported where the next batch is taken, wherever the main thread was."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import torch
from torch.utils.data import Dataset

from torchconsole.engine.components.data.loader import Loader, LoaderOptions
from torchconsole.engine.components.torch_compat import shut_down_workers

TIMEOUT = 20.0
"""A loader that misses a worker's death raises another error after so many seconds."""


class Numbers(Dataset[Any]):
    """Each item is its index."""

    def __getitem__(self, index: int) -> int:
        return index


class Leaving(Dataset[Any]):
    """Item 3 ends its process as if all were well."""

    def __getitem__(self, index: int) -> int:
        if index == 3:
            os._exit(0)
        return index


@pytest.fixture
def started() -> Iterator[Any]:
    """Begin a pass over a dataset with two workers; all workers end with the test."""
    loaders: list[Loader] = []
    # Another test's plain DataLoader may have set torch's handler, which raises wherever this thread is.
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def start(dataset: Dataset[Any], length: int = 1000) -> tuple[Iterator[Any], list[psutil.Process]]:
        before = set(psutil.Process().children())
        options = LoaderOptions(torch.device("cpu"), num_workers=2, pin_memory=False, timeout=TIMEOUT)
        loaders.append(Loader(dataset, range(length), options))
        batches = iter(loaders[-1])
        assert next(batches) == 0
        return batches, [child for child in psutil.Process().children() if child not in before]

    yield start
    for loader in loaders:
        shut_down_workers(loader._loader)
    signal.signal(signal.SIGCHLD, handler)


def kill(worker: psutil.Process) -> None:
    """Kill a worker, and wait until its parent, this process, could have heard of it."""
    worker.send_signal(signal.SIGKILL)
    assert os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)


class KillsInDestructor:
    """Python drops an exception that is raised while an object of this class is destroyed."""

    def __init__(self, worker: psutil.Process) -> None:
        self.worker = worker

    def __del__(self) -> None:
        kill(self.worker)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_death_during_a_destructor_is_reported(started: Any) -> None:
    batches, workers = started(Numbers())
    killer = KillsInDestructor(workers[0])
    del killer
    with pytest.raises(RuntimeError, match=rf"pid {workers[0].pid}\) is killed by signal: Killed"):
        list(batches)


def test_a_death_raises_nothing_before_the_next_batch_is_taken(started: Any) -> None:
    batches, workers = started(Numbers())
    kill(workers[1])
    with pytest.raises(RuntimeError, match="killed by signal"):
        next(batches)


def test_the_death_of_another_loaders_worker_is_reported_too(started: Any) -> None:
    _, validation = started(Numbers())
    batches, _ = started(Numbers())
    kill(validation[0])
    with pytest.raises(RuntimeError, match=rf"pid {validation[0].pid}\) is killed by signal"):
        next(batches)


def test_a_worker_that_leaves_without_an_error_is_reported(started: Any) -> None:
    batches, _ = started(Leaving())
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid \d+\) exited unexpectedly"):
        list(batches)
