"""The processes that run a program of the user's own together: their commands, and why one of them ends.

They meet in a store beside the program's own process group, which they leave alone: the program may make it
before its training, later, or not at all.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from torchconsole.engine.distributed.agreement import FollowerQueue, LeaderQueue
from torchconsole.engine.distributed.failures import Failures, is_lost_process, own_name
from torchconsole.engine.distributed.job import LEADER_IS_MISSING, STOP, STORE_SECONDS
from torchconsole.engine.distributed.meeting import meet
from torchconsole.engine.distributed.program_watch import Going, ProgramWatch
from torchconsole.engine.distributed.store import FOREVER, copy_of, wait_for
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.run.membership import Membership
from torchconsole.engine.text import first_line
from torchconsole.engine.training.command_queue import Channel, CommandQueue, Terminated
from torchconsole.engine.training.progress import Progress

log = logging.getLogger(__name__)

HERE, GIVEN, LEFT, ANNOUNCED = "here", "given", "left", "announced"

PART_BYTES = 4 * 2**20
"""Size of the parts in which content is given: a client that sends more than 8 MiB is disconnected."""

TAKE_SECONDS = 10.0
"""How long the first process waits for what the others give at the same step."""

TIMED_OUT = "imed out"
"""Part of what gloo says if it has waited for another process for the timeout of the process group."""

MOST_NAMED = 8

LATE_SECONDS = 10.0
"""How long the first process waits at its end for others, if the store where they meet ends with it."""

NEVER_CAME = (
    "%s %s had not come when this run ended: it is late, was not started, has ended before, or does not call "
    "torchconsole.run; what it prints may say why"
)

NO_GROUP = (
    "%d processes run this program, but it has no process group at its first step: each of them trains a "
    "model of its own; call torch.distributed.init_process_group and wrap the model in "
    "DistributedDataParallel, or run the program in one process"
)


class NoJob:
    """A program that runs in one process."""

    rank, size = 0, 1

    failure = ""
    """Why another process has failed or is gone; empty if nothing of it is known."""

    @property
    def leads(self) -> bool:
        """Whether this process has the run: the first one has."""
        return self.rank == 0

    def channel(self, commands: CommandQueue) -> Channel:
        """Return what brings commands to the training thread: in the first process, those of its queue."""
        return commands

    def explain(self, reason: str, cause: BaseException | None) -> str:
        """Tell the other processes why this one fails; return the reason of the run.

        It is what another process has said, if torch has found that one missing.
        """
        return reason

    def report_stop(self) -> None:
        """Tell the others that a stop has ended this process before its first step."""

    def check_group(self) -> None:
        """Warn at the first step if the processes train apart."""

    def give(self, name: str, content: bytes) -> None:
        """Give the first process something that it takes under this name, which is used once."""

    def take(self, name: str) -> list[bytes] | None:
        """Return what all others give under this name, in their order; None if one does not in time.

        It is not waited for if one of them has ended.
        """
        return []

    def announce(self, text: str) -> None:
        """Tell all others something that they wait for at their begin."""

    def announced(self) -> str:
        """Wait for what the first process announces."""
        return ""

    def watch(
        self, progress: Callable[[], Progress], commands: CommandQueue, end: Callable[[str], object]
    ) -> None:
        """Watch over the training thread, which calls this, and over the other processes.

        `end` is called in a thread with the reason if this process waits in torch for one that has failed.
        """

    def start_thread(self, name: str, work: Callable[[Store, threading.Event], object]) -> None:
        """Start a thread with a client of the store, which ends when the event says that the job does."""

    def close(self) -> None:
        """Take part in nothing any more: this process takes no further step."""


class ProgramJob(NoJob):
    """This process's access to all processes of a program."""

    def __init__(self, membership: Membership, number: int = 0) -> None:
        """Reach the store of the program's run of this number. Raises TrainingError if there is none."""
        self.rank, self.size = membership.rank, membership.size
        # Without a launcher that runs a store, MASTER_PORT is for that of the program's own group.
        port = membership.port if membership.launcher_hosts else membership.port + 1
        self._is_complete = threading.Event()
        self._store_stays = membership.launcher_hosts
        self._late: list[int] = []
        try:
            store = TCPStore(
                membership.host,
                port,
                self.size,
                is_master=self.leads and not membership.launcher_hosts,
                timeout=timedelta(seconds=STORE_SECONDS),
                wait_for_workers=False,
            )
            shared = PrefixStore(f"torchconsole/{membership.attempt}/program/{number}", store)
            self._store, answering = meet(
                shared, leads=self.leads, complete=self._is_complete, count_late=lambda: len(self._late)
            )
            self.failures = Failures(self._store, self.rank, self.size)
        except TimeoutError as error:
            raise TrainingError(LEADER_IS_MISSING) from error
        except (dist.DistError, RuntimeError) as error:
            raise TrainingError(
                f"process {self.rank} cannot meet the others at {membership.host}:{port} (the port after "
                f"MASTER_PORT without torchrun): {first_line(error)}"
            ) from error
        self._threads = [] if answering is None else [answering]
        self._over = threading.Event()
        if self.leads:
            self.start_thread("meeting", self._await_others)
        else:
            self._store.set(f"{HERE}/{self.rank}", "")
        self._untaken: list[str] = []
        """Names under which the others may have given something that is still in the store."""
        self._queue: LeaderQueue | FollowerQueue | None = None
        self._watch: ProgramWatch | None = None
        self._commands: CommandQueue | None = None

    def channel(self, commands: CommandQueue) -> Channel:
        """Return what brings the first process's commands to all of them."""
        if self._queue is None:
            store = PrefixStore("commands", self._store)
            self._queue = (
                LeaderQueue(commands, store, self.size) if self.leads else FollowerQueue(store, self.rank)
            )
        return self._queue

    def ask_to_stop(self, reason: str) -> None:
        """Have the first process stop all of them."""
        with contextlib.suppress(dist.DistError):  # it has ended
            self._store.set(STOP, reason)

    def watch(
        self, progress: Callable[[], Progress], commands: CommandQueue, end: Callable[[str], object]
    ) -> None:
        """See `NoJob`."""

        def going() -> Going:
            is_paused = self._queue is not None and self._queue.is_waiting
            return Going(progress().step, commands.batches, is_paused, commands.stop_requested)

        self._commands = commands
        self._watch = ProgramWatch(self.rank, self.size, self.failures, going, end)
        self.failures.watch = self._watch
        self._watch.begin(self._store)
        self.start_thread("watch", self._watch.work)

    def give(self, name: str, content: bytes) -> None:
        """See `NoJob`."""
        key = f"{GIVEN}/{name}/{self.rank}"
        parts = [content[begin : begin + PART_BYTES] for begin in range(0, len(content), PART_BYTES)]
        for number, part in enumerate(parts):
            self._store.set(f"{key}/{number}", part)  # type: ignore[arg-type]
        self._store.set(key, str(len(parts)))

    def take(self, name: str) -> list[bytes] | None:
        """See `NoJob`."""
        self._untaken.append(name)
        deadline = time.monotonic() + TAKE_SECONDS
        try:
            for rank in range(1, self.size):
                key = f"{GIVEN}/{name}/{rank}"
                wait_for(self._store, key, deadline - time.monotonic(), partial(self._check_left, rank, key))
            contents = [self._given(name, rank) for rank in range(1, self.size)]
            self._drop_given()
        except (TimeoutError, dist.DistError):
            return None
        return contents

    def _check_left(self, rank: int, key: str) -> None:
        """Raise TimeoutError if this process has ended, as far as is known, and has not given this."""
        is_lost = self._watch is not None and self._watch.failure
        if (is_lost or self._store.check([f"{LEFT}/{rank}"])) and not self._store.check([key]):
            raise TimeoutError(key)

    def _given(self, name: str, rank: int) -> bytes:
        key = f"{GIVEN}/{name}/{rank}"
        return b"".join(self._store.get(f"{key}/{number}") for number in range(int(self._store.get(key))))

    def _drop_given(self) -> None:
        """Remove what has been taken from the store, and what came too late before."""
        for name in self._untaken:
            for rank in range(1, self.size):
                if self._store.check([key := f"{GIVEN}/{name}/{rank}"]):
                    for number in range(int(self._store.get(key))):
                        self._store.delete_key(f"{key}/{number}")
                    self._store.delete_key(key)
        self._untaken.clear()

    def announce(self, text: str) -> None:
        """See `NoJob`."""
        self._store.set(ANNOUNCED, text)

    def announced(self) -> str:
        """See `NoJob`."""
        return wait_for(self._store, ANNOUNCED).decode()

    def watch_for_stop(self, stop: Callable[[str], object]) -> None:
        """Call `stop` with the reason, in a thread, once another process asks for it."""

        def wait(store: Store, over: threading.Event) -> None:
            store.wait([STOP], FOREVER)
            if not over.is_set():
                self.failures.others_stop = True
                stop(store.get(STOP).decode())

        self.start_thread("stop", wait)

    def _await_others(self, store: Store, _over: threading.Event) -> None:
        """Wait until all others are here; their questions are answered until then."""
        try:
            store.wait([f"{HERE}/{rank}" for rank in range(1, self.size)], FOREVER)
        finally:
            self._is_complete.set()  # also if the store is gone, where nobody can come any more

    def start_thread(self, name: str, work: Callable[[Store, threading.Event], object]) -> None:
        """See `NoJob`. The thread also ends with the store."""
        store = copy_of(self._store)

        def run() -> None:
            with contextlib.suppress(dist.DistError):  # the store is gone at the end of the job
                work(store, self._over)

        thread = threading.Thread(target=run, name=f"torchconsole-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def explain(self, reason: str, cause: BaseException | None) -> str:
        """See `NoJob`. Waits for some seconds, because the other process may be about to say it."""
        if cause is not None and is_lost_process(cause):
            if self._watch is not None and TIMED_OUT in str(cause):
                with contextlib.suppress(dist.DistError):
                    self._watch.give_up(self._store)
                    if self._watch.verdict:
                        self.failures.accuse(self._watch.verdict)
            return self.failures.why_lost(cause)
        self.failures.report(reason)
        return f"{own_name(self.rank)}: {reason}"

    def report_stop(self) -> None:
        """See `NoJob`."""
        self.failures.report_stop()

    def check_group(self) -> None:
        """See `NoJob`."""
        if self.leads and not dist.is_initialized():
            log.warning(NO_GROUP, self.size)

    def close(self) -> None:
        """See `NoJob`. No thread of it waits in the store afterwards: Python's end would abort it.

        One that starts later finds an answer of the first process in the store of the launcher.
        """
        if self._over.is_set():
            return
        if self.leads:
            self._note_late()
        self._over.set()
        if self._queue is not None:
            self._queue.close()
        with contextlib.suppress(dist.DistError):
            if not self.leads:
                self._store.set(f"{LEFT}/{self.rank}", "")
            else:
                self._is_complete.set()
                self._store.set(STOP, "")
                for rank in range(1, self.size):
                    self._store.set(f"{HERE}/{rank}", "")
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        if self._watch is not None and not self.failure:
            self.failure = self._watch.failure

    def _note_late(self) -> None:
        """Note who has not come yet, and warn. Waits some seconds if the store ends with this process."""
        if not self._store_stays:
            with contextlib.suppress(Terminated):  # the program has ended, and its end is the reason
                self._is_complete.wait(LATE_SECONDS)
        with contextlib.suppress(dist.DistError):  # nobody can come any more
            self._late = [rank for rank in range(1, self.size) if not self._store.check([f"{HERE}/{rank}"])]
        is_stopping = self._commands is not None and self._commands.stop_requested
        if self._late and not is_stopping:
            ranks = ", ".join(map(str, self._late[:MOST_NAMED])) + ", ..." * (len(self._late) > MOST_NAMED)
            log.warning(NEVER_CAME, f"process{'es' * (len(self._late) > 1)}", ranks)


ALONE = NoJob()
