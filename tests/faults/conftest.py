"""Fixtures of the fault tests: small runs, workers that are killed, small disks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.fault_runs import Runs
from tests.support.zygote import Zygote

_tallies: list[str] = []


@pytest.fixture
def tally() -> Callable[[str], None]:
    """Record which fault was injected and how often; the summary at the end prints it."""
    return _tallies.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the faults that were injected."""
    if _tallies:
        terminalreporter.section("faults injected")
        for line in _tallies:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def user_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a user with temporary folders."""
    home = tmp_path_factory.mktemp("home")
    with TemporaryDirectory(prefix="tc-", dir="/tmp") as sockets:
        folders = {f"XDG_{kind}_HOME": str(home / kind) for kind in ("STATE", "CACHE", "DATA", "CONFIG")}
        yield {**folders, "TORCHCONSOLE_SOCKETS": sockets}


@pytest.fixture(autouse=True)
def as_user(user_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process the user's environment."""
    for name, value in user_env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def zygote(user_env: dict[str, str]) -> Iterator[Zygote]:
    """A process that forks workers quickly."""
    zygote = Zygote({**os.environ, **user_env, "OMP_NUM_THREADS": "1"})
    yield zygote
    zygote.close()


@pytest.fixture
def runs(tmp_path: Path, zygote: Zygote, as_user: None) -> Runs:
    """Make and run runs below this test's folder."""
    return Runs(tmp_path / "runs", zygote)


@pytest.fixture
def mount() -> Iterator[Callable[..., Path]]:
    """Mount a file system of 2 MiB at a folder; needs root."""
    mounted: list[Path] = []

    def mount_at(folder: Path, options: str = "size=2m") -> Path:
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "torchconsole-faults", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("mounting a small file system needs root, and is not allowed in every container")
        mounted.append(folder)
        return folder

    yield mount_at
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(mount: Callable[[Path], Path], tmp_path: Path) -> Path:
    """A file system of 2 MiB."""
    return mount(tmp_path / "disk")
