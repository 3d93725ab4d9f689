"""Fixtures for the tests of a worker's life: somebody's own folders, and runs that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.faulty_task import FAULT
from tests.support.worker_runs import Life

Begin = Callable[..., Life]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process in the place of somebody with folders of their own."""
    for kind in ("STATE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with TemporaryDirectory(prefix="tc-", dir="/tmp") as sockets:
        monkeypatch.setenv("TORCHCONSOLE_SOCKETS", sockets)
        yield


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Starts runs: `begin("hang", "data.num_workers=1")` with a fault of slow.py and overrides."""
    begun: list[Life] = []

    def begin_one(fault: str = "", *overrides: str) -> Life:
        monkeypatch.setenv(FAULT, fault)
        begun.append(Life.begin(tmp_path / "runs", *overrides))
        return begun[-1]

    yield begin_one
    for life in begun:
        life.started.process.kill()
        life.started.process.wait()
