"""Fixtures: two users of one machine, who do not trust each other and share a folder of runs. Needs root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.local_user import GROUP, LocalUser
from tests.support.matrix import as_user

ALICE, BOB = 54301, 54302
"""Uids that no account has."""

SHARED = {"open": (0o777, 0o022), "sticky": (0o1777, 0o022), "group": (0o2770, 0o002)}
"""Ways to share a folder: its mode, and the umask of its users."""


@pytest.fixture(scope="package", autouse=True)
def needs_root() -> None:
    """Skip these tests, with the reason, unless they can become other users."""
    if os.getuid() != 0:
        pytest.skip("only root can become two other users")
    probe = as_user([sys.executable, "-c", "import torch"], ALICE)
    try:
        done = subprocess.run(probe, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"{error.filename} is needed")
    if done.returncode != 0:
        pytest.skip(f"uid {ALICE} cannot run {sys.executable}: {done.stderr[-200:]}")


@pytest.fixture(scope="package")
def filled_cache(cache: Path, needs_root: None) -> Path:
    """A cache with the catalogue of torch's classes, to be copied for each user."""
    from torchconsole.engine.client.catalogue_cache import load_catalogue

    load_catalogue()
    return cache


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can search, unlike pytest's own."""
    with TemporaryDirectory(prefix="tc-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def make_users(place: Path, filled_cache: Path) -> Iterator[Callable[[str], tuple[LocalUser, LocalUser]]]:
    """Make both users, with a folder of runs that they share in one of the ways of SHARED."""
    made: list[LocalUser] = []

    def make(kind: str) -> tuple[LocalUser, LocalUser]:
        mode, umask = SHARED[kind]
        runs, sockets = place / "runs", place / "s"
        for folder, its_mode in ((runs, mode), (sockets, 0o1777)):
            folder.mkdir()
            os.chown(folder, 0, GROUP)
            folder.chmod(its_mode)
        for name, uid in (("alice", ALICE), ("bob", BOB)):
            made.append(LocalUser(uid, place / name, str(sockets), filled_cache, runs, umask))
        return made[0], made[1]

    yield make
    for user in made:
        user.kill_workers()
