"""A set is read once in order, by this process or by workers, and in requests that all of them share."""

from __future__ import annotations

import os
from typing import Any, Literal

import pytest
import torch
from torch.utils.data import Dataset

from torchconsole.engine.components.data import loader_worker, reading
from torchconsole.engine.components.data.loader import LoaderOptions
from torchconsole.engine.components.data.reading import read_once, samples_per_request
from torchconsole.engine.errors import DataError

OPTIONS = LoaderOptions(torch.device("cpu"), num_workers=0, pin_memory=False, timeout=20)


class Processes(Dataset[Any]):
    """Returns each request with the process that got it; DataError for -1."""

    def __getitem__(self, request: int) -> tuple[int, int] | DataError:
        return DataError("unreadable") if request == -1 else (request, os.getpid())


def read(requests: list[int], workers: int | Literal["auto"]) -> tuple[list[int], int]:
    """Return what is read, and how many other processes have read."""
    items = list(read_once(Processes(), requests, workers, OPTIONS, 1))
    return [request for request, _ in items], len({process for _, process in items} - {os.getpid()})


@pytest.mark.parametrize("workers", [0, 2])
def test_the_number_of_workers_that_the_preset_states_is_used(workers: int) -> None:
    assert read(list(range(9)), workers) == (list(range(9)), workers)


def test_this_process_reads_alone_what_is_read_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "usable_cores", lambda: 4)
    assert read(list(range(50)), "auto") == (list(range(50)), 0)


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (3, 3)])
def test_all_cores_read_what_takes_long(cores: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "usable_cores", lambda: cores)
    monkeypatch.setattr(reading, "ALONE", 1e-9)
    monkeypatch.setattr(reading, "WORTH_WORKERS", 0.0)
    assert read(list(range(20)), "auto") == (list(range(20)), workers)


def test_workers_fit_into_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "usable_cores", lambda: 4)
    monkeypatch.setattr(reading, "fitting_workers", lambda size, most: min(most, 100 // size))
    assert reading._workers(9, 10) == 4
    assert reading._workers(9, 50) == 2
    assert reading._workers(9, 101) == 0
    assert loader_worker.fitting_workers(1 << 60, 4) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_in_place_of_its_item(workers: int) -> None:
    items = read_once(Processes(), [0, 1, -1, 3], workers, OPTIONS, 1)
    assert [next(items)[0], next(items)[0]] == [0, 1]
    with pytest.raises(DataError, match="unreadable"):
        next(items)


@pytest.mark.parametrize(
    ("count", "nbytes", "samples"),
    [(100, 10, 7), (5, 10, 1), (64000, 2**10, 2**10), (640, 2**19, 2), (640, 2**22, 1), (3, 0, 1)],
)
def test_requests_are_shared_by_all_cores_and_are_small(
    count: int, nbytes: int, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "usable_cores", lambda: 4)
    assert samples_per_request(count, nbytes) == samples
