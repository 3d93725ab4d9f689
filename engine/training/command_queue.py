"""The queue of commands from any thread or signal handler to the training thread."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, Protocol

from pydantic import BaseModel, Field

from torchconsole.engine.protocol.commands import Command, StopRun

INSIST_SECONDS = 5.0
"""Time after a stop from which on another one means that the step is not waited for. Before, it may be a
signal that is sent to all processes of a job, or a key pressed twice."""


class Terminated(BaseException):
    """Raised in the training thread by a signal while there is nothing to save, or nothing worth waiting for.

    Like KeyboardInterrupt it is not an Exception, so that no library mistakes it for one of its own errors.
    """


class Abandoned(Terminated):
    """Raised within a step or an evaluation that hangs, after a second stop."""


class ByClock(BaseModel):
    """What the clock of the leading process asks of all: a periodic checkpoint, or the end of the run.

    Clients cannot send it, and it is not in the journal.
    """

    type: Literal["ByClock"] = "ByClock"
    ends: bool


Instruction = Annotated[Command | ByClock, Field(discriminator="type")]


class Request(NamedTuple):
    """A command, the sender's id for it, and who sent it."""

    id: str
    command: Instruction
    by: str


class Channel(Protocol):
    """Where the training thread gets commands from: a queue, or of several processes their agreement."""

    def is_quiet(self) -> bool:
        """Whether there is nothing to apply at this step boundary. Asked once at each."""

    def begin_here(self) -> None:
        """Begin a pause at this boundary, as all processes do without asking `is_quiet`."""

    def has_more(self) -> bool:
        """Whether there is another command to apply at this boundary."""

    def get(self) -> Request:
        """Wait for the next command and return it; signal handlers run meanwhile."""


class _Section:
    """A section of code that knows whether it is being run: a fast context manager."""

    def __init__(self) -> None:
        self.is_entered = False

    def __enter__(self) -> None:
        self.is_entered = True

    def __exit__(self, *_: object) -> None:
        self.is_entered = False


class CommandQueue:
    """Commands in the order in which they arrived: one total order for all senders.

    A SimpleQueue, since its put may interrupt its own get: a signal handler runs in the waiting thread.
    """

    def __init__(self) -> None:
        self.stop_requested = False
        """Whether a stop was requested: slow work between two steps checks this."""
        self.waits_since: float | None = None
        """Since when (time.monotonic) the training thread has been waiting for a batch; None if it is not.

        Terminated may be raised in the thread then: between two batches nothing is half done. It stays None
        while several processes train, which end at the same step only.
        """
        self.stops_since: float | None = None
        """When (time.monotonic) the first stop was requested."""
        self.insists = False
        """Whether a stop was requested again later on: the step is not waited for."""
        self.batches = 0
        """Batches that one of several processes has taken until now: whether its training thread goes on."""
        self.running_user_code = _Section()
        """Entered by the training thread for a step or an evaluation, where Abandoned may be raised."""
        self.on_stop: Callable[[], object] = lambda: None
        """Called whenever a stop is requested, by the thread that requests it."""
        self.was_suspended = False
        """Whether the process was stopped by SIGSTOP or ctrl+z since this was last set to False."""
        self._queue: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self.empty = self.is_quiet = self._queue.empty

    def put(self, id: str, command: Instruction, by: str) -> None:
        """Add a command, from any thread or from a signal handler."""
        self._queue.put(Request(id, command, by))
        if isinstance(command, StopRun):
            now = time.monotonic()
            self.stop_requested = True
            self.stops_since = self.stops_since or now
            self.insists = now - self.stops_since >= INSIST_SECONDS
            self.on_stop()

    def begin_here(self) -> None:
        """See `Channel`."""

    def has_more(self) -> bool:
        """Whether there is a command."""
        return not self._queue.empty()

    def get(self) -> Request:
        """Wait for the next command and return it; signal handlers run meanwhile."""
        return self._queue.get()
