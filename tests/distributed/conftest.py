"""Fixtures of the tests with several processes: a user who has torchrun."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support import faulty_rows
from tests.support.program_user import User
from tests.support.ranks import OWN, STEPS, Logged, Torchrun, undisturbed_run


@pytest.fixture
def user(tmp_path: Path, cache: Path) -> Iterator[User]:
    """A user whose workers are killed after the test."""
    with TemporaryDirectory(prefix="tc-", dir="/tmp") as sockets:
        user = User(tmp_path / "home", sockets, cache)
        yield user
        user.kill_workers()


@pytest.fixture
def torchrun(user: User) -> Iterator[Torchrun]:
    """torchrun of this user; what it started is ended after the test."""
    launcher = Torchrun(user)
    yield launcher
    launcher.kill()


@pytest.fixture
def own(user: User) -> User:
    """A user with data of their own, which fails as FAULT says."""
    return add_own(user)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Logged:
    """What two processes log of that user's preset if nothing fails. Trained once, for several tests."""
    return undisturbed_run(add_own(fresh_user(tmp_path_factory, cache)), "own")


@pytest.fixture(scope="session")
def undisturbed_digits(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Logged:
    """What two processes log of the preset digits-mlp. Trained once, for several tests."""
    return undisturbed_run(fresh_user(tmp_path_factory, cache), "digits-mlp", *STEPS)


def fresh_user(folders: pytest.TempPathFactory, cache: Path) -> User:
    """Return a user for a run that ends by itself."""
    home = folders.mktemp("undisturbed")
    return User(home / "home", str(home / "sockets"), cache)


def add_own(user: User) -> User:
    """Give a user the preset and the data."""
    user.write_preset("own", OWN)
    shutil.copy(faulty_rows.__file__, user.folder)
    return user
