"""Fixtures of the tests with several processes: a user who has torchrun."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.program_user import User
from tests.support.ranks import Torchrun


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
