"""The queue of commands from any thread or signal handler to the training thread."""

from __future__ import annotations

import queue
from typing import NamedTuple

from torchconsole.engine.protocol.commands import Command, StopRun


class Terminated(BaseException):
    """Raised in the training thread by a signal while there is nothing to save, or nothing worth waiting for.

    Like KeyboardInterrupt it is not an Exception, so that no library mistakes it for one of its own errors.
    """


class Request(NamedTuple):
    """A command, the sender's id for it, and who sent it."""

    id: str
    command: Command
    by: str


class CommandQueue:
    """Commands in the order in which they arrived: one total order for all senders.

    A SimpleQueue, since its put may interrupt its own get: a signal handler runs in the waiting thread.
    """

    def __init__(self) -> None:
        self.stop_requested = False
        """Whether a stop was requested: slow work between two steps checks this."""
        self.waits_since: float | None = None
        """Since when (time.monotonic) the training thread has been waiting for a batch; None if it is not.

        Terminated may be raised in the thread then: between two batches nothing is half done.
        """
        self.was_suspended = False
        """Whether the process was stopped by SIGSTOP or ctrl+z since this was last set to False."""
        self._queue: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self.empty = self._queue.empty

    def put(self, id: str, command: Command, by: str) -> None:
        """Add a command, from any thread or from a signal handler."""
        self._queue.put(Request(id, command, by))
        self.stop_requested = self.stop_requested or isinstance(command, StopRun)

    def get(self) -> Request:
        """Wait for the next command and return it; signal handlers run meanwhile."""
        return self._queue.get()
