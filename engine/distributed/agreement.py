"""All ranks of a job apply a command at the same step boundary, at no cost while there is none.

Rank 0 has the commands. It opens a round when it finds some at a boundary, and names it, `opened`. A thread
of every other rank waits for that and acknowledges with the boundary that its training thread has passed
last. From then on that thread reads, before each boundary from `opened` on, what rank 0 says of it: go on, or
apply.
Rank 0 says "apply" at the first boundary of its own that no rank has passed unawares. So none can pass it,
however far the hosts of the ranks are apart, and none waits for a rank that waits for it: rank 0 says
something about each boundary before it begins the step behind it.

The keys of a round in the job's store:
    N/opened/R    the boundary at which rank 0 opened it, for rank R, or `ENDED`
    N/passed/R    the boundary that rank R passed last before it knew of the round, or `LEFT`
    N/at/B        what to do at boundary B: `GO_ON` or `APPLY`
    N/request/K   the K-th command of the round

A program of the user's own may take its last step in one rank before the others, which must not wait for it
then. `LEFT` says that a rank passes no boundary any more and is not to be asked again. `ENDED`, also a key of
its own, says so of rank 0, which opens no round any more.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from pydantic import BaseModel
from torch._C._distributed_c10d import Store
from torch.distributed import DistError, DistStoreError

from torchconsole.engine.distributed.store import FOREVER, LONGEST_WAIT, SHORTEST_WAIT, copy_of
from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.training.command_queue import ByClock, CommandQueue, Instruction, Request

log = logging.getLogger(__name__)

GO_ON, APPLY = "go on", "apply"
LEFT, ENDED = "left", "ended"

LEADER_ENDED = "the first process has ended its training"

PATIENCE = timedelta(seconds=10)
"""After this time, the log says that a command waits for other processes."""


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
        self._others = list(range(1, world_size))
        self._is_closed = False
        self._gathering: threading.Thread | None = None
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

    def begin_here(self) -> None:
        """Begin a pause at this boundary, as all ranks do without asking `is_quiet`."""
        self._boundary += 1
        if not self._is_open:
            self._open()
        if self._gathering is not None:
            self._gathering.join()  # it would say of a later round where that begins
        if self._failure is not None:
            raise self._failure
        self._is_open, self._has_more = False, self._commands.has_more()

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
        self._keys[self._round] += [f"{self._round}/opened/{rank}" for rank in self._others]
        asked = self._round, self._boundary
        self._gathering = threading.Thread(
            target=self._gather, args=asked, name="torchconsole-agreement", daemon=True
        )
        self._gathering.start()

    def _gather(self, number: int, boundary: int) -> None:
        """Ask all ranks, and find the first boundary that none of them has passed unawares."""
        try:
            for rank in self._others:
                self._threads_store.set(f"{number}/opened/{rank}", str(boundary))
            answers = self._answers(number)
            if self._is_closed:
                return
            passed = {rank: int(answer) for rank, answer in answers.items() if answer != LEFT}
            for rank in answers.keys() - passed.keys():
                log.info("process %d has ended its training; commands no longer reach it", rank)
            self._others = list(passed)
            self._first = max(passed.values(), default=boundary) + 1
        except Exception as error:  # noqa: BLE001 - the training thread raises it
            self._failure = error

    def _answers(self, number: int) -> dict[int, str]:
        """Wait until all ranks have acknowledged a round; return what they have said."""
        keys = [f"{number}/passed/{rank}" for rank in self._others]
        if not keys:
            return {}
        try:
            self._threads_store.wait(keys, PATIENCE)
        except DistStoreError:
            log.warning("a command waits for processes that have not answered yet: do all of them train?")
            self._threads_store.wait(keys, FOREVER)
        answers = (answer.decode() for answer in self._threads_store.multi_get(keys))
        return dict(zip(self._others, answers, strict=True))

    def close(self) -> None:
        """Tell the other ranks that this one passes no boundary any more, and end the thread of the round."""
        self._is_closed = True
        with contextlib.suppress(DistError):  # the store is gone, and with it the others
            self._store.set(ENDED, "")
            for rank in self._others:
                self._store.set(f"{self._round + 1}/opened/{rank}", ENDED)
                if self._first is None:  # nobody applies what the round was opened for
                    self._store.set(f"{self._round}/passed/{rank}", "0")
        if self._gathering is not None:
            self._gathering.join()

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
        self._is_closed = False
        self._listening = threading.Thread(
            target=self._listen, args=(copy_of(store),), name="torchconsole-agreement", daemon=True
        )
        self._listening.start()

    def is_quiet(self) -> bool:
        """Whether no rank applies commands at this boundary. Two comparisons while there are none.

        Raises what went wrong in the listening thread, such as DistError if the store is gone.
        """
        if self._is_applying:
            self._end_round()
        self._boundary += 1
        opened = self._opened  # read after the listening thread can see the boundary
        if opened is None or self._boundary < opened or self._is_closed:
            return True
        if self._failure is not None:
            raise self._failure
        said = self._of_leader(f"at/{self._boundary}")
        self._is_closed = said is None  # no command will come any more
        self._is_applying = said == APPLY
        self._has_more = self._is_applying
        return not self._is_applying

    def begin_here(self) -> None:
        """Begin a pause at this boundary, as all ranks do without asking `is_quiet`."""
        if self._is_applying:
            self._end_round()
        self._boundary += 1
        while self._opened is None and self._listening.is_alive():
            time.sleep(SHORTEST_WAIT)
        if self._failure is not None:
            raise self._failure
        self._is_applying, self._has_more = True, False

    def has_more(self) -> bool:
        """Whether there is another command at this boundary."""
        return self._has_more

    def get(self) -> Request:
        """Return the next command of rank 0. Waits for one in a pause."""
        self.is_waiting = True
        content = self._of_leader(f"request/{self._taken}")
        self.is_waiting = False
        if content is None:  # in a pause
            self._has_more = False
            return Request(ENDED, StopRun(reason=LEADER_ENDED), ENDED)
        self._taken += 1
        message = Message.model_validate_json(content)
        self._has_more = message.more
        return Request(message.id, message.command, message.by)

    def close(self) -> None:
        """Tell rank 0 that this one passes no boundary any more, and end the thread that listens to it."""
        self._is_closed = True
        with contextlib.suppress(DistError):  # the store is gone, and the thread has ended
            self._store.set(f"{self._round}/opened/{self._rank}", ENDED)
            self._ended.put(self._round)
            self._listening.join()
            unanswered = self._round if self._opened is None else self._round + 1
            self._store.set(f"{unanswered}/passed/{self._rank}", LEFT)

    def _of_leader(self, name: str) -> str | None:
        """Wait for what rank 0 says in this round; None if it has ended without saying it."""
        key, pause = f"{self._round}/{name}", SHORTEST_WAIT
        while not self._store.check([key]):
            if self._store.check([ENDED]) and not self._store.check([key]):
                return None
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_WAIT)
        return self._store.get(key).decode()

    def _end_round(self) -> None:
        self._is_applying, self._opened, self._taken = False, None, 0
        self._ended.put(self._round)
        self._round += 1

    def _listen(self, store: Store) -> None:
        """Wait for one round after the other, and acknowledge it. In a thread, with a store of its own."""
        number = 1
        try:
            while not self._is_closed:
                store.wait([key := f"{number}/opened/{self._rank}"], FOREVER)
                if self._is_closed or (opened := store.get(key).decode()) == ENDED:
                    return
                self._opened = int(opened)
                # Whoever passes a boundary after this line reads what rank 0 says of it.
                store.set(f"{number}/passed/{self._rank}", str(self._boundary))
                number = self._ended.get() + 1
        except Exception as error:  # noqa: BLE001 - the training thread raises it at its next boundary
            self._failure = error
            self._opened = 0
