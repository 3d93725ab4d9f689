"""Signals are blocked at first, interrupt the preparation, and become commands after it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.session.signals import STOP_SIGNALS, Signals, Terminated
from torchconsole.engine.training.command_queue import CommandQueue, Request


@pytest.fixture
def commands() -> CommandQueue:
    return CommandQueue()


@pytest.fixture
def signals(commands: CommandQueue) -> Iterator[Signals]:
    with handling(commands) as signals:
        yield signals


@contextmanager
def handling(commands: CommandQueue) -> Iterator[Signals]:
    """Install the worker's handlers in this process."""
    before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGHUP)}
    try:
        yield Signals(commands)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    """Send a signal to this thread; unless it is blocked, its handler has run on return."""
    signal.raise_signal(number)


def prepare(signals: Signals, *work: Callable[[], object]) -> None:
    """Run functions as a preparation."""
    with signals.ending_preparation():
        for piece in work:
            piece()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_interrupts_the_preparation(signals: Signals, number: signal.Signals, status: int) -> None:
    with pytest.raises(Terminated, match=number.name):
        prepare(signals, lambda: send(number), lambda: pytest.fail("not interrupted"))
    assert signals.exit_status == status


def test_a_signal_before_the_preparation_is_remembered(signals: Signals) -> None:
    send(signal.SIGTERM)
    with pytest.raises(Terminated):
        prepare(signals, lambda: pytest.fail("not interrupted"))
    assert signals.exit_status == 143


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_discarded_by_python_is_raised_again(signals: Signals) -> None:
    class Fragile:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    done: list[str] = []
    with pytest.raises(Terminated):
        prepare(signals, Fragile, lambda: done.append("all"))
    assert done == ["all"], "a destructor cannot raise an exception"


def test_a_second_signal_does_not_interrupt_the_cleanup(signals: Signals) -> None:
    with pytest.raises(Terminated, match="SIGTERM"):
        prepare(signals, lambda: send(signal.SIGTERM))
    send(signal.SIGINT)


def test_after_the_preparation_a_signal_is_a_command(signals: Signals, commands: CommandQueue) -> None:
    prepare(signals)
    assert commands.empty()
    send(signal.SIGTERM)
    assert commands.get() == Request("signal-15", StopRun(reason="SIGTERM"), "SIGTERM")
    assert signals.exit_status == 143


def test_only_the_first_signal_counts(signals: Signals, commands: CommandQueue) -> None:
    """Later signals are ignored: handlers can interrupt each other, up to the recursion limit."""
    prepare(signals)
    send(signal.SIGTERM)
    assert {signal.getsignal(number) for number in STOP_SIGNALS} == {signal.SIG_IGN}
    send(signal.SIGINT)
    assert commands.get().by == "SIGTERM"
    assert commands.empty()
    assert signals.exit_status == 143


def test_a_hangup_is_ignored(signals: Signals, commands: CommandQueue) -> None:
    prepare(signals, lambda: send(signal.SIGHUP))
    send(signal.SIGHUP)
    assert commands.empty()
    assert signals.exit_status == 0


def test_a_signal_blocked_at_the_launch_is_delivered(commands: CommandQueue) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    send(signal.SIGTERM)
    with handling(commands) as signals:
        assert signals.exit_status == 143
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & STOP_SIGNALS
