"""The console as a process: its settings over SSH, its priority, and its end by a signal.

Imports nothing of Textual, because `configure_for_ssh` must run before Textual is imported.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import TypeVar

REMOTE_SETTINGS = {"TEXTUAL_FPS": "15", "TEXTUAL_ANIMATIONS": "none"}
"""Textual reads these once, when it is imported."""

NICENESS = 10
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
GRACE_SECONDS = 3

Result = TypeVar("Result")


def is_remote() -> bool:
    """Return whether the console runs in an SSH session."""
    return bool(os.environ.get("SSH_CONNECTION"))


def configure_for_ssh() -> None:
    """Over SSH, set the Textual settings that the user has not set. Call this before Textual is imported."""
    if is_remote():
        for name, value in REMOTE_SETTINGS.items():
            os.environ.setdefault(name, value)


_full_priority = ThreadPoolExecutor(max_workers=1, thread_name_prefix="full-priority")
"""Linux gives each thread a priority, which its threads and child processes inherit and which only root can
raise again. So the thread that starts workers is created before the priority of the others is lowered."""


def lower_priority() -> None:
    """Lower the priority of this thread, and so of everything it starts except by `at_full_priority`."""
    _full_priority.submit(os.getpid).result()
    os.nice(NICENESS)


async def at_full_priority(work: Callable[..., Result], *arguments: object) -> Result:
    """Call `work`, which starts processes, in a thread that still has the shell's priority."""
    return await asyncio.get_running_loop().run_in_executor(_full_priority, work, *arguments)


class SignalExit:
    """Context manager: each of SIGNALS calls `exit_app` in the running loop, which restores the terminal.

    If the loop hangs (for example in a write to a terminal that is gone), SIGALRM ends the process
    GRACE_SECONDS after the signal. `status` is the exit status for such an end, 0 before any signal.
    """

    def __init__(self, exit_app: Callable[[], object]) -> None:
        self.status = 0
        self._exit_app = exit_app
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> SignalExit:
        self._previous = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.alarm(0)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.status = 128 + number
        signal.alarm(GRACE_SECONDS)
        self._loop.call_soon_threadsafe(self._exit_app)
