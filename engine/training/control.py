"""The queue of commands between those who ask (any thread, a signal handler) and the training thread."""

from __future__ import annotations

import queue
from typing import NamedTuple

from torchconsole.engine.protocol.commands import Command


class Request(NamedTuple):
    """A command, the sender's id for it, and who sent it."""

    id: str
    command: Command
    by: str


class CommandQueue:
    """First come, first applied: one total order of all commands.

    SimpleQueue, because its put may interrupt its own get: a signal handler runs in the waiting thread.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self.empty = self._queue.empty

    def put(self, id: str, command: Command, by: str) -> None:
        """Hand in a command from any thread or from a signal handler."""
        self._queue.put(Request(id, command, by))

    def get(self) -> Request:
        """The next command; waits for one, and signal handlers run meanwhile."""
        return self._queue.get()
