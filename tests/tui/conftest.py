"""Fixtures of all console tests: UTC, a local terminal, and no waiting for refreshes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from torchconsole.tui.screens import run_layout


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use UTC, so that times of day do not depend on the machine."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def local_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as in a local terminal, even if the tests run over SSH."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)


@pytest.fixture(autouse=True)
def fast_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refresh at once, so that no test waits for it."""
    monkeypatch.setattr(run_layout, "SHORTEST_SECONDS", 0.01)
    monkeypatch.setattr(run_layout, "LONGEST_SECONDS", 0.01)
