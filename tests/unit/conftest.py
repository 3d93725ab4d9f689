"""What the unit tests of the engine share."""

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
    """Makes sessions, of digits-mlp where nothing else is said; `session("training.epochs=2")` overrides."""

    def make(*overrides: str, preset: str = "digits-mlp", checkpoints: Path | None = None) -> Session:
        return Session(checkpoints or tmp_path / "checkpoints", overrides, preset)

    return make


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """What torch offers, as a process of its own has written it down."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return load_catalogue()


@pytest.fixture(autouse=True)
def socket_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another place than /tmp for the sockets of this test's runs, as short a path."""
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as root:
        monkeypatch.setenv("TORCHCONSOLE_SOCKETS", root)
        yield Path(root)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A run whose server lives in this process, and looks after things so often that no test waits for it."""
    monkeypatch.setattr(server, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(server, "TELEMETRY_SECONDS", 0.05)
    with Served(make_folder(tmp_path)) as served:
        yield served


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[tuple[RunFolder, subprocess.Popen[bytes]]]:
    """A run with a worker process of its own that needs no torch."""
    folder = make_folder(tmp_path)
    process = start_standin(folder)
    yield folder, process
    process.kill()
    process.wait()
