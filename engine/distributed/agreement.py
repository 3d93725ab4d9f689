"""All ranks of a job apply a command at the same step boundary, at no cost while there is none.

Rank 0 has the commands. It opens a round when it finds some at a boundary, and names it, `opened`. A thread
of every other rank waits for that and acknowledges with the boundary that its training thread has passed
last. From then on that thread reads, before each boundary from `opened` on, what rank 0 says of it: go on, or
apply.
Rank 0 says "apply" at the first boundary of its own that no rank has passed unawares. So none can pass it,
however far the hosts of the ranks are apart, and none waits for a rank that waits for it: rank 0 says
something about each boundary before it begins the step behind it.

The keys of a round in the job's store:
    N/opened      the boundary at which rank 0 opened it
    N/passed/R    the boundary that rank R passed last before it knew of the round
    N/at/B        what to do at boundary B: `GO_ON` or `APPLY`
    N/request/K   the K-th command of the round
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from pydantic import BaseModel
from torch._C._distributed_c10d import Store

from torchconsole.engine.distributed.store import FOREVER, copy_of, wait_for
from torchconsole.engine.training.command_queue import ByClock, CommandQueue, Instruction, Request

GO_ON, APPLY = "go on", "apply"


class Message(BaseModel):
    """A command on its way to the other ranks; `more` follow it at the same boundary."""

    id: str
    command: Instruction
    by: str
    more: bool


class LeaderQueue:
    """The commands of rank 0, which it shares with all ranks. For the training thread."""

    def __init__(self, commands: CommandQueue, store: Store, world_size: int) -> None:
        self.read_clock: Callable[[], ByClock | None] = lambda: None
        """Called at each boundary: what the clock asks of all processes becomes a command."""
        self.is_waiting = False
        """Whether the training thread waits for a command, which it does in a pause only."""
        self._commands = commands
        self._store = store
        self._threads_store = copy_of(store)  # a wait in one thread would block the other's client
        self._failure: Exception | None = None
        self._others = range(1, world_size)
        self._boundary = 0
        self._round = 0
        self._is_open = False
        self._first: int | None = None
        self._has_more = False
        self._taken = 0
        self._keys: dict[int, list[str]] = {}

    def is_quiet(self) -> bool:
        """Whether no rank applies commands at this boundary. A few comparisons while there are none.

        Raises what went wrong in the thread of the open round, such as DistError if the store is gone.
        """
        self._boundary += 1
        if not self._is_open:
            if (by_clock := self.read_clock()) is not None:
                self._commands.put("clock", by_clock, "clock")
            if self._commands.empty():
                return True
            self._open()
        if self._failure is not None:
            raise self._failure
        first = self._first
        if first is None or self._boundary < first:
            self._set(f"at/{self._boundary}", GO_ON)
            return True
        self._is_open, self._has_more = False, True
        self._set(f"at/{self._boundary}", APPLY)
        return False

    def has_more(self) -> bool:
        """Whether there is another command at this boundary."""
        return self._has_more

    def get(self) -> Request:
        """Return the next command, which all ranks apply. Waits for one in a pause."""
        self.is_waiting = True
        request = self._commands.get()
        self.is_waiting = False
        self._has_more = self._commands.has_more()
        message = Message(**request._asdict(), more=self._has_more)
        self._set(f"request/{self._taken}", message.model_dump_json())
        self._taken += 1
        return request

    def _open(self) -> None:
        self._round += 1
        self._is_open, self._first, self._taken = True, None, 0
        # All ranks have acknowledged the round before this one, so they are through with the one before that.
        for key in self._keys.pop(self._round - 2, ()):
            self._store.delete_key(key)
        self._keys[self._round] = [f"{self._round}/passed/{rank}" for rank in self._others]
        self._set("opened", str(self._boundary))
        threading.Thread(
            target=self._gather, args=(self._round,), name="torchconsole-agreement", daemon=True
        ).start()

    def _gather(self, number: int) -> None:
        """Find the first boundary that no rank has passed unawares."""
        keys = [f"{number}/passed/{rank}" for rank in self._others]
        try:
            self._threads_store.wait(keys, FOREVER)
            passed = map(int, self._threads_store.multi_get(keys))
            self._first = max(passed, default=0) + 1
        except Exception as error:  # noqa: BLE001 - the training thread raises it
            self._failure = error

    def _set(self, name: str, value: str) -> None:
        key = f"{self._round}/{name}"
        self._store.set(key, value)
        self._keys[self._round].append(key)


class FollowerQueue:
    """The commands of rank 0, as another rank receives them. For the training thread."""

    def __init__(self, store: Store, rank: int) -> None:
        self.is_waiting = False
        """Whether the training thread waits for a command, as in a pause."""
        self._store = store
        self._rank = rank
        self._boundary = 0
        self._round = 1
        self._opened: int | None = None
        self._is_applying = self._has_more = False
        self._taken = 0
        self._failure: Exception | None = None
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        """The rounds that the training thread has left behind, for the thread that waits for the next one."""
        threading.Thread(
            target=self._listen, args=(copy_of(store),), name="torchconsole-agreement", daemon=True
        ).start()

    def is_quiet(self) -> bool:
        """Whether no rank applies commands at this boundary. Two comparisons while there are none.

        Raises what went wrong in the listening thread, such as DistError if the store is gone.
        """
        if self._is_applying:
            self._end_round()
        self._boundary += 1
        opened = self._opened  # read after the listening thread can see the boundary
        if opened is None or self._boundary < opened:
            return True
        if self._failure is not None:
            raise self._failure
        self._is_applying = wait_for(self._store, f"{self._round}/at/{self._boundary}").decode() == APPLY
        self._has_more = self._is_applying
        return not self._is_applying

    def has_more(self) -> bool:
        """Whether there is another command at this boundary."""
        return self._has_more

    def get(self) -> Request:
        """Return the next command of rank 0. Waits for one in a pause."""
        self.is_waiting = True
        content = wait_for(self._store, f"{self._round}/request/{self._taken}")
        self.is_waiting = False
        self._taken += 1
        message = Message.model_validate_json(content)
        self._has_more = message.more
        return Request(message.id, message.command, message.by)

    def _end_round(self) -> None:
        self._is_applying, self._opened, self._taken = False, None, 0
        self._ended.put(self._round)
        self._round += 1

    def _listen(self, store: Store) -> None:
        """Wait for one round after the other, and acknowledge it. In a thread, with a store of its own."""
        number = 1
        try:
            while True:
                store.wait([key := f"{number}/opened"], FOREVER)
                self._opened = int(store.get(key))
                # Whoever passes a boundary after this line reads what rank 0 says of it.
                store.set(f"{number}/passed/{self._rank}", str(self._boundary))
                number = self._ended.get() + 1
        except Exception as error:  # noqa: BLE001 - the training thread raises it at its next boundary
            self._failure = error
            self._opened = 0
