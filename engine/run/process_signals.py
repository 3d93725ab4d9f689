"""Signal handlers of a worker, which the processes that it starts do not inherit.

User code may start processes (multiprocessing.Pool, subprocess, os.fork). They expect every signal at its
default, as in a program of the user's own: a Pool, for example, ends its processes with SIGTERM.
"""

from __future__ import annotations

import operator
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]

DO_NOTHING: Handler = operator.is_
"""A handler that does nothing. It is a built-in function: signals could interrupt one in Python, and a flood
of them would reach the recursion limit."""

_handlers: dict[int, Handler] = {}
"""The handlers of this process that its children must not have."""


def handle(number: int, handler: Handler) -> None:
    """Call `handler` in this process's main thread when the signal arrives; only from the main thread."""
    if not _handlers:
        os.register_at_fork(after_in_child=_restore_defaults)
    _handlers[number] = handler
    signal.signal(number, handler)


def ignore(number: int) -> None:
    """Ignore a signal in this process. Unlike with SIG_IGN, programs that it starts do not ignore it."""
    handle(number, DO_NOTHING)
    # As if ignored: no call of a library ends early with EINTR.
    signal.siginterrupt(number, False)


def _restore_defaults() -> None:
    """In a forked child, restore Python's defaults, except where user code has set a handler since.

    A program that is started with exec gets the kernel's defaults from the kernel.
    """
    for number, handler in _handlers.items():
        if signal.getsignal(number) == handler:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    _handlers.clear()
