"""Fixtures for the tests of worker processes: temporary user folders, and runs that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.faulty_task import FAULT
from tests.support.worker_runs import WorkerRun

Start = Callable[..., WorkerRun]


@pytest.fixture(autouse=True)
def temporary_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give this process temporary user folders."""
    for kind in ("STATE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with TemporaryDirectory(prefix="tc-", dir="/tmp") as sockets:
        monkeypatch.setenv("TORCHCONSOLE_SOCKETS", sockets)
        yield


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start runs: `start("hang", "data.num_workers=1")` takes a fault of faulty_task.py and overrides."""
    started: list[WorkerRun] = []

    def start_one(fault: str = "", *overrides: str) -> WorkerRun:
        monkeypatch.setenv(FAULT, fault)
        started.append(WorkerRun.start(tmp_path / "runs", *overrides))
        return started[-1]

    yield start_one
    for run in started:
        run.started.process.kill()
        run.started.process.wait()
