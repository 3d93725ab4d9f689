"""Leaves the console in good order when a signal asks it to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
GRACE_SECONDS = 3


class Hangup:
    """While entered, each of SIGNALS calls `leave` in the running loop: the terminal gets restored.

    Where the loop cannot get to it (the terminal is gone and a write to it hangs), SIGALRM ends the process
    GRACE_SECONDS later, unless it was left by then. `status` is the exit status that such an end deserves, 0
    before a signal came.
    """

    def __init__(self, leave: Callable[[], object]) -> None:
        self.status = 0
        self._leave = leave
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Hangup:
        self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.alarm(0)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.status = 128 + number
        signal.alarm(GRACE_SECONDS)
        self._loop.call_soon_threadsafe(self._leave)
