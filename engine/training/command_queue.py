"""The queue of commands between those who ask (any thread, a signal handler) and the training thread."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from torchconsole.engine.protocol.commands import Command, StopRun

T = TypeVar("T")


class Terminated(BaseException):
    """Raised in the training thread by a signal, where there is nothing to save or nothing to wait for.

    Like KeyboardInterrupt it is no Exception, so that no library takes it for an error of its own.
    """


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
        self.stop_requested = False
        """Whether anybody has asked for the run's end: what takes long between two steps looks here."""
        self.waits_since: float | None = None
        """Since when (time.monotonic) the training thread waits for a batch; None while it does not.

        Terminated may be raised in it there: between two batches nothing is half done.
        """
        self.was_suspended = False
        """Whether the process was stopped by SIGSTOP or ctrl+z since this was last set to False."""
        self._queue: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self.empty = self._queue.empty

    def put(self, id: str, command: Command, by: str) -> None:
        """Hand in a command from any thread or from a signal handler."""
        self._queue.put(Request(id, command, by))
        self.stop_requested = self.stop_requested or isinstance(command, StopRun)

    def get(self) -> Request:
        """The next command; waits for one, and signal handlers run meanwhile."""
        return self._queue.get()

    def each(self, batches: Iterable[T]) -> Iterator[T]:
        """Each of `batches`; says in `waits_since` when one is waited for."""
        iterator = iter(batches)
        try:
            while True:
                self.waits_since = time.monotonic()
                batch = next(iterator)
                self.waits_since = None
                yield batch
        except StopIteration:
            return
        finally:
            self.waits_since = None
