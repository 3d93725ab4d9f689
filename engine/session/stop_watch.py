"""Ends a process that is to stop while its main thread waits in native code, as in torch for another process.

Handlers of signals run in the main thread only, once it is back in Python. But each signal is also written
into a pipe as it arrives, which a thread reads.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

from torchconsole.engine.run.liveness import STOP_SIGNALS
from torchconsole.engine.run.membership import BEFORE_TRAINING, HANGING, WITHIN_STEP
from torchconsole.engine.session.signals import Signals
from torchconsole.engine.training.command_queue import INSIST_SECONDS, CommandQueue

log = logging.getLogger(__name__)

UNNOTICED_TICKS = 10
"""Seconds after which a main thread that has not noticed a stop waits in native code."""

READ_BYTES = 512


def arrivals() -> Iterator[int]:
    """Yield the number of each signal that this process handles in Python, also while no handler can run.

    Call it in the main thread; iterate in another one.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))

    def read() -> Iterator[int]:
        while True:
            yield from os.read(reader, READ_BYTES)

    return read()


class StopWatch:
    """Counts how often a stop was not noticed by the main thread, and then ends the process.

    The preparation is ended after any stop; a step or an evaluation after a second one only: until then it is
    waited for. Each tick is an alarm, of which a process that was suspended gets one.
    """

    def __init__(self, signals: Signals, commands: CommandQueue, end: Callable[[str, int], object]) -> None:
        """`end` is called in a thread with the reason and the signal's number; 0 if it was a command."""
        self._signals = signals
        self._commands = commands
        self._end = end
        self._first = 0
        self._since = self._last = 0.0
        self._alarms = 0
        self._ticks = 0
        self._told = False

    def start(self) -> None:
        """Watch from now on. Only the main thread may call this."""
        threading.Thread(
            target=self._work, args=(arrivals(),), name="torchconsole-stops", daemon=True
        ).start()

    def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            if not self._signals.handles(number):
                continue  # the program has a handler of its own
            if number in STOP_SIGNALS:
                self._note(number)
            elif number == signal.SIGALRM and self._is_overdue():
                return

    def _note(self, number: int) -> None:
        self._last = time.monotonic()
        if not self._first:
            self._first, self._since = number, self._last
            if self._commands.stops_since is None:
                self._signals.start_alarm()

    def _is_overdue(self) -> bool:
        """Count a tick; end the process if there were enough, and return whether it was."""
        noticed, self._alarms = self._signals.alarms != self._alarms, self._signals.alarms
        self._ticks = 0 if noticed else self._ticks + 1
        if self._ticks < UNNOTICED_TICKS:
            return False
        name = signal.Signals(self._first).name if self._first else "stopped"
        if self._signals.ends_preparation:
            self._end(f"{name} {BEFORE_TRAINING}", self._first)
            return True
        if not self._commands.running_user_code.is_entered:
            return False  # a save, for example, is waited for
        if self._insists:
            self._end(f"{name} {WITHIN_STEP}", self._first)
            return True
        if not self._told:
            self._told = True
            log.warning(HANGING)
        return False

    @property
    def _insists(self) -> bool:
        since = self._commands.stops_since or self._since
        return self._commands.insists or (self._first != 0 and self._last - since >= INSIST_SECONDS)
