"""Signals to a process that does not lead."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from torchconsole.engine.training.command_queue import INSIST_SECONDS
from torchconsole.engine.worker.follower import _forward_signals

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put the handlers of this process back after the test."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_that_comes_twice_at_once_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ended: list[int] = []
    job: Any = SimpleNamespace(ask_to_stop=asked.append, trains=True)
    _forward_signals(job)
    send, now = signal.raise_signal, time.monotonic()
    monkeypatch.setattr(signal, "raise_signal", ended.append)
    send(signal.SIGINT)
    send(signal.SIGINT)
    send(signal.SIGTERM)
    assert (asked, ended) == (["SIGINT"], [])
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * INSIST_SECONDS)
    send(signal.SIGTERM)
    assert (asked, ended) == (["SIGINT"], [signal.SIGTERM])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_the_training_a_signal_asks_and_ends_at_once(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The leader may be gone, and would not answer."""
    asked: list[str] = []
    ended: list[int] = []
    job: Any = SimpleNamespace(ask_to_stop=asked.append, trains=False)
    _forward_signals(job)
    send = signal.raise_signal
    monkeypatch.setattr(signal, "raise_signal", ended.append)
    send(number)
    assert (asked, ended) == ([number.name], [number])
    assert signal.getsignal(number) is signal.SIG_DFL
