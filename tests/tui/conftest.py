"""What the console's tests share: one time zone, and a terminal that is near."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from torchconsole.tui.screens import run_layout


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of day are the same wherever the tests run."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not over SSH, wherever the tests run."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for the next refresh."""
    monkeypatch.setattr(run_layout, "SHORTEST_SECONDS", 0.01)
    monkeypatch.setattr(run_layout, "LONGEST_SECONDS", 0.01)
