"""A stop that the main thread does not notice ends the process after ten ticks of the alarm."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.run.membership import BEFORE_TRAINING, HANGING, WITHIN_STEP
from torchconsole.engine.session.stop_watch import UNNOTICED_TICKS, StopWatch
from torchconsole.engine.training import command_queue
from torchconsole.engine.training.command_queue import CommandQueue

TICKS = [signal.SIGALRM] * UNNOTICED_TICKS


class Watched:
    """A watch that reads these signals, and what it does then."""

    def __init__(self, *, prepares: bool = False, in_step: bool = False, foreign: int = 0) -> None:
        self.commands = CommandQueue()
        self.commands.running_user_code.is_entered = in_step
        self.ended: list[tuple[str, int]] = []
        self.begun = 0
        self.signals = SimpleNamespace(
            alarms=0,
            ends_preparation=prepares,
            handles=lambda number: number != foreign,
            start_alarm=self._start,
        )
        signals: Any = self.signals
        self.watch = StopWatch(signals, self.commands, lambda *end: self.ended.append(end))

    def _start(self) -> None:
        self.begun += 1

    def read(self, *numbers: int) -> list[tuple[str, int]]:
        self.watch._work(iter(numbers))
        return self.ended


def test_an_unnoticed_signal_ends_the_preparation() -> None:
    watched = Watched(prepares=True)
    assert watched.read(signal.SIGTERM, *TICKS[1:]) == []
    assert watched.begun == 1, "the handler that starts the alarm has not run"
    assert watched.read(signal.SIGALRM) == [(f"SIGTERM {BEFORE_TRAINING}", signal.SIGTERM)]


def test_an_unnoticed_command_ends_the_preparation() -> None:
    watched = Watched(prepares=True)
    watched.commands.put("1", StopRun(), by="me")
    assert watched.read(*TICKS) == [(f"stopped {BEFORE_TRAINING}", 0)]


def test_a_main_thread_that_notices_the_alarm_is_left_alone() -> None:
    watched = Watched(prepares=True)
    for _ in range(3):
        assert watched.read(*TICKS[1:]) == []
        watched.signals.alarms += 1


def test_a_step_ends_after_a_second_stop_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(command_queue, "INSIST_SECONDS", 0.0)
    watched = Watched(in_step=True)
    assert watched.read(signal.SIGINT, *TICKS, *TICKS) == []
    assert caplog.messages == [HANGING]
    watched.commands.put("2", StopRun(), by="me")
    assert watched.read(signal.SIGALRM) == [(f"SIGINT {WITHIN_STEP}", signal.SIGINT)]


def test_a_save_is_waited_for() -> None:
    watched = Watched()
    watched.commands.insists = True
    assert watched.read(signal.SIGINT, *TICKS, *TICKS) == []


@pytest.mark.parametrize("foreign", [signal.SIGTERM, signal.SIGALRM])
def test_a_handler_of_the_program_is_its_own_affair(foreign: int) -> None:
    watched = Watched(prepares=True, foreign=foreign)
    watched.read(*[foreign] * 2 * UNNOTICED_TICKS)
    assert (watched.ended, watched.begun) == ([], 0)


WAITS_IN_NATIVE_CODE = """
import ctypes, os, signal, threading
from torchconsole.engine.session import stop_watch
from torchconsole.engine.session.signals import Signals
from torchconsole.engine.training.command_queue import CommandQueue

def end(reason, number):
    print(reason, number, flush=True)
    os._exit(3)

stop_watch.UNNOTICED_TICKS = 1
commands = CommandQueue()
signals = Signals(commands)
stop_watch.StopWatch(signals, commands, end).start()
if os.fork() == 0:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.raise_signal(signal.SIGTERM)  # the parent is to hear nothing of it
os.wait()
native, mutex, condition = ctypes.CDLL(None), ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)

def tell():
    native.pthread_mutex_lock(mutex)  # free once the main thread waits
    print("waits", flush=True)

native.pthread_mutex_lock(mutex)
threading.Thread(target=tell, daemon=True).start()
with signals.ending_preparation():
    native.pthread_cond_wait(condition, mutex)
"""


def test_a_process_in_native_code_is_ended() -> None:
    command = [sys.executable, "-P", "-c", WAITS_IN_NATIVE_CODE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.terminate()
        assert process.stdout.read() == f"SIGTERM {BEFORE_TRAINING} 15\n"
    assert process.returncode == 3
