"""Fixtures of the unit tests."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runs import Served, make_folder, start_standin
from tests.support.sessions import MakeSession, Session
from torchconsole.engine.client.catalogue_cache import load_catalogue
from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.session import server


@pytest.fixture
def session(tmp_path: Path) -> MakeSession:
    """Make sessions, by default of digits-mlp; `session("training.epochs=2")` overrides a key."""

    def make(*overrides: str, preset: str = "digits-mlp", checkpoints: Path | None = None) -> Session:
        return Session(checkpoints or tmp_path / "checkpoints", overrides, preset)

    return make


@pytest.fixture(scope="session")
def catalogue(cache: Path) -> Catalogue:
    """The catalogue of torch's classes, written by a separate process as in production."""
    return load_catalogue()


@pytest.fixture(autouse=True)
def socket_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A separate folder for the sockets of this test's runs, with a short path."""
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as root:
        monkeypatch.setenv("TORCHCONSOLE_SOCKETS", root)
        yield Path(root)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A run whose server is in this process, with periods so short that no test has to wait for them."""
    monkeypatch.setattr(server, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(server, "TELEMETRY_SECONDS", 0.05)
    with Served(make_folder(tmp_path)) as served:
        yield served


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[tuple[RunFolder, subprocess.Popen[bytes]]]:
    """A run with a separate worker process that needs no torch."""
    folder = make_folder(tmp_path)
    process = start_standin(folder)
    yield folder, process
    process.kill()
    process.wait()
