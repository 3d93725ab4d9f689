"""Signals are blocked at first, interrupt the preparation, and become commands after it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType

import pytest

from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.run.liveness import HANDLED_SIGNALS, STOP_SIGNALS
from torchconsole.engine.session import signals as signals_module
from torchconsole.engine.session.signals import Signals, Terminated
from torchconsole.engine.training import command_queue
from torchconsole.engine.training.command_queue import Abandoned, CommandQueue, Request

SIGNALS = (*HANDLED_SIGNALS, signal.SIGHUP, signal.SIGCONT, signal.SIGALRM)


@pytest.fixture
def commands() -> CommandQueue:
    return CommandQueue()


@pytest.fixture
def signals(commands: CommandQueue) -> Iterator[Signals]:
    with handling(commands) as signals:
        yield signals


@contextmanager
def handling(commands: CommandQueue) -> Iterator[Signals]:
    """Install the worker's handlers in this process, whose alarm is the time limit of this test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    alarm = signal.getitimer(signal.ITIMER_REAL)
    try:
        yield Signals(commands)
    finally:
        signal.setitimer(signal.ITIMER_REAL, *alarm)  # the worker's would count as this test's
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


def test_a_reason_from_inside_ends_a_run_like_a_signal(signals: Signals, commands: CommandQueue) -> None:
    with pytest.raises(Terminated, match="the folder was removed before the training began"):
        prepare(signals, lambda: signals.end("the folder was removed"))
    assert commands.get() == Request("signal-15", StopRun(reason="the folder was removed"), "torchconsole")
    assert signals.exit_status == 1


def test_only_the_first_signal_counts(signals: Signals, commands: CommandQueue) -> None:
    """Later signals do nothing: handlers in Python can interrupt each other, up to the recursion limit."""
    prepare(signals)
    send(signal.SIGTERM)
    assert {type(signal.getsignal(number)) for number in STOP_SIGNALS} == {BuiltinFunctionType}
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


DEFAULTS = dict.fromkeys(SIGNALS, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}


def in_child(check: Callable[[], bool]) -> bool:
    """Fork, and return what `check` returns in the child."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if check() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def has_defaults() -> bool:
    return {number: signal.getsignal(number) for number in SIGNALS} == DEFAULTS


@pytest.mark.parametrize("received", [(), (signal.SIGTERM,)], ids=["training", "stopping"])
def test_a_forked_child_has_the_default_handlers(
    signals: Signals, received: tuple[signal.Signals, ...]
) -> None:
    for number in received:
        send(number)
    assert in_child(has_defaults)
    assert in_child(lambda: in_child(has_defaults)), "nor has a child of the child"
    assert not has_defaults()


def test_a_forked_child_keeps_the_handlers_of_user_code(signals: Signals) -> None:
    def own(number: int, frame: object) -> None:
        """Do nothing."""

    signal.signal(signal.SIGUSR1, own)
    assert in_child(lambda: signal.getsignal(signal.SIGUSR1) is own)


@pytest.mark.parametrize("received", [(), (signal.SIGTERM,)], ids=["training", "stopping"])
def test_a_program_that_is_started_ignores_no_signal(
    signals: Signals, received: tuple[signal.Signals, ...]
) -> None:
    for number in received:
        send(number)
    shown = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(":\t", 1) for line in shown.splitlines() if line.startswith("Sig"))
    masks = {name: int(fields[name], 16) for name in ("SigIgn", "SigCgt", "SigBlk")}
    for number in SIGNALS:
        assert [name for name, mask in masks.items() if mask >> (number - 1) & 1] == [], number.name


def test_a_pool_ends_its_processes_while_the_run_stops(signals: Signals) -> None:
    """It sends them SIGTERM and waits for their end."""
    send(signal.SIGTERM)
    begin = time.monotonic()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]
    pool.join()
    assert time.monotonic() - begin < 10


def hang(commands: CommandQueue) -> None:
    """Hang in user code for at most 10 seconds."""
    with commands.running_user_code, multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply(time.sleep, (10,))


@pytest.mark.parametrize("by", ["signal", "command"])
def test_a_second_stop_ends_a_step_that_hangs(
    signals: Signals, commands: CommandQueue, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    for module in (command_queue, signals_module):
        monkeypatch.setattr(module, "INSIST_SECONDS", 0.5)
    monkeypatch.setattr(signals_module, "BATCH_SECONDS", 0.02)
    prepare(signals)

    def stop() -> None:
        """As often as a user who loses patience."""
        while not commands.insists:
            if by == "signal":
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                commands.put("1", StopRun(), by="somebody")
            time.sleep(0.05)

    begin = time.monotonic()
    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Abandoned, match="within a step"):
        hang(commands)
    signals.ignore()
    thread.join()
    assert time.monotonic() - begin < 8


def test_a_stop_that_waits_for_long_is_explained(
    signals: Signals,
    commands: CommandQueue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(signals_module, "HANGING_SECONDS", 0.01)
    monkeypatch.setattr(signals_module, "BATCH_SECONDS", 0.02)
    commands.put("1", StopRun(), by="somebody")
    deadline = time.monotonic() + 8
    while not caplog.messages and time.monotonic() < deadline:
        signal.sigtimedwait([], 0.01)
    signals.ignore()
    assert "stop again to end it" in caplog.text
