"""Fixtures of the end-to-end tests: a user and their terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.program_user import User
from tests.support.pseudo_terminal import Terminal


@pytest.fixture
def sockets() -> Iterator[str]:
    """A separate folder for the sockets of this test's runs, with a short path."""
    with TemporaryDirectory(prefix="tc-", dir="/tmp") as root:
        yield root


@pytest.fixture
def user(tmp_path: Path, sockets: str, cache: Path) -> Iterator[User]:
    """A user whose workers are killed after the test."""
    user = User(tmp_path / "home", sockets, cache)
    yield user
    user.kill_workers()


@pytest.fixture
def open_terminal(user: User) -> Iterator[Callable[..., Terminal]]:
    """Open terminals that run `torchconsole ARGUMENTS`; they are closed after the test."""
    opened: list[Terminal] = []

    def open_one(*arguments: str, **size: int) -> Terminal:
        opened.append(Terminal(user, *arguments, **size))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()
