"""Watches over the processes that run a program together: which one is gone, has failed, or is waited for.

A heartbeat in a thread of each. It never calls a process hung: a program may evaluate for an hour, or write a
checkpoint in one process alone. How long the others wait in a collective is what the program has told torch,
with the timeout of its process group. If torch gives up, this says which process was waited for, and where
that is. A process that has failed or is gone ends the others as soon as they wait for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil
from torch._C._distributed_c10d import Store
from torch.distributed import DistError

from torchconsole.engine.distributed.diagnosis import Absence, Beat, find_place, why_stuck
from torchconsole.engine.distributed.failures import LEADER_STOPPED, Failures
from torchconsole.engine.distributed.job import STOP
from torchconsole.engine.distributed.watch import BEAT

log = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between two beats."""

GRACE_SECONDS = 6.0
"""How long a process that waits for one which has failed may take to end by itself."""

SILENT_BEATS = 6
"""At least half as many beats are missing of a process that is not heard of."""

STOP_SECONDS = 15.0
"""How long one that is to stop may work on: its launcher kills it after 30 seconds, without a reason."""

LONG_WAIT = 60.0
"""Seconds after which the log says for which process the others wait."""


class Going(NamedTuple):
    """How far the training thread is."""

    step: int
    batches: int
    is_paused: bool
    is_stopping: bool
    """Whether a signal of the launcher, for example, is to stop the run."""


class ProgramWatch:
    """Watches over the training thread of this process, which creates it, and over the other processes.

    `end` is called in a thread with the reason if the training thread waits in torch, where no exception and
    no signal reaches it, for a process that has failed, or if it hangs while it is to stop.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        failures: Failures,
        going: Callable[[], Going],
        end: Callable[[str], object],
    ) -> None:
        self.beats: dict[int, Beat] = {}
        self.verdict = ""
        """Why torch has given up waiting, if it has."""
        self.failure = ""
        """Which other process has failed or is gone, and why, if one is."""
        self._rank = rank
        self._others = [other for other in range(size) if other != rank]
        self._failures = failures
        self._going = going
        self._end = end
        self._thread = threading.get_ident()
        self._number = 0
        self._mark = going()
        self._first_step = self._mark.step
        self._still = 0.0
        self._unheard: dict[int, float] = {}
        self._absence = Absence(SILENT_BEATS * PERIOD)
        self._told = False
        self._failed_for = self._stopping_for = 0.0

    def begin(self, store: Store) -> None:
        """Say that this process is there, before anything of the program runs."""
        with contextlib.suppress(DistError):  # the training thread will find out too
            self._say(store)

    def work(self, store: Store, over: threading.Event) -> None:
        """Exchange beats until this process is `over`, and then tell the others so. Raises DistError."""
        self._exchange(store)
        while not over.wait(PERIOD):
            self._absence.note(PERIOD)
            self._count()
            self._exchange(store)
            self._tell_long_wait()
            if self.failure and self._is_stuck():
                self._end(self.failure)
                return
            if self._rank and self._mark.step == self._first_step and self._failures.has_stopped(store):
                self._end(LEADER_STOPPED)
                return
        self._say(store, is_over=True)
        self._look(store)

    def give_up(self, store: Store) -> None:
        """Find out which process was waited for, because torch waits no longer. Raises DistError."""
        for rank in self._others:
            self._hear(store, rank)
        # What this process does now, such as this, is not where it has waited.
        own = self.beats[self._rank].model_copy(update={"waits": True, "is_over": False})
        if not any(self._is_gone(rank) for rank in self._others):
            seconds = max(self._still, SILENT_BEATS * PERIOD)
            self.verdict = why_stuck(self.beats | {self._rank: own}, dict(self._unheard), seconds)

    @property
    def absence(self) -> str:
        """See `KnowsBeats`."""
        return self._absence.describe(self.beats[self._rank], self._rank)

    def _count(self) -> None:
        """Count in beats and not by a clock: while the whole job is suspended, nobody is late."""
        now = self._going()
        self._still = 0.0 if now != self._mark or now.is_paused else self._still + PERIOD
        self._mark = now
        for rank in self._others:
            self._unheard[rank] = self._unheard.get(rank, 0.0) + PERIOD
        self._failed_for += PERIOD if self.failure else 0.0
        self._stopping_for += PERIOD if self.failure and now.is_stopping else 0.0

    def _exchange(self, store: Store) -> None:
        self._say(store)
        self._look(store)

    def _say(self, store: Store, *, is_over: bool = False) -> None:
        self._number += 1
        place, waits = find_place(self._thread)
        beat = Beat(
            number=self._number,
            host=socket.gethostname(),
            pid=os.getpid(),
            pids=_namespace(),
            step=self._mark.step,
            batches=self._mark.batches,
            still=self._still,
            place=place,
            waits=waits,
            is_over=is_over,
        )
        self.beats[self._rank] = beat
        store.set(f"{BEAT}/{self._rank}", beat.model_dump_json())

    def _look(self, store: Store) -> None:
        """Look what the others say: the first process listens to all of them, they listen to it."""
        heard = self._others if self._rank == 0 else [0]
        for rank in heard:
            self._hear(store, rank)
        if not self.failure:
            self.failure = self._failures.first(store) or self._loss(store, heard)

    def _loss(self, store: Store, heard: list[int]) -> str:
        """Return which process is gone; empty if none is, or if a stop has ended it before its first step."""
        gone = next(filter(self._is_gone, heard), None)
        if gone is None or (self._mark.step == self._first_step and store.check([STOP])):
            return ""
        return self._failures.describe(gone, self.beats[gone])

    def _hear(self, store: Store, rank: int) -> None:
        if not store.check([key := f"{BEAT}/{rank}"]):
            return
        beat = Beat.model_validate_json(store.get(key))
        if rank not in self.beats or beat.number != self.beats[rank].number:
            self._unheard[rank] = 0.0
            self._absence.forget()
        self.beats[rank] = beat

    def _is_gone(self, rank: int) -> bool:
        """Whether a process of this machine, and of this container, has ended without a word."""
        beat = self.beats.get(rank)
        if beat is None or beat.is_over or (beat.host, beat.pids) != (socket.gethostname(), _namespace()):
            return False
        try:
            return bool(psutil.Process(beat.pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    def _is_stuck(self) -> bool:
        """Whether this process waits in torch for one that has failed, or does not stop because of it."""
        late = min(self._failed_for, self._still)
        return self._stopping_for >= STOP_SECONDS or (late >= GRACE_SECONDS and self._waits(self._rank))

    def _waits(self, rank: int) -> bool:
        return rank in self.beats and self.beats[rank].waits and not self.beats[rank].is_over

    def _tell_long_wait(self) -> None:
        """Log once for each long wait, in the first process, which process is waited for and where it is.

        That process may be at work.
        """
        alive = {rank: beat for rank, beat in self.beats.items() if not beat.is_over}
        waiting = [beat for rank, beat in alive.items() if self._waits(rank) and beat.still >= LONG_WAIT]
        busy = [rank for rank in alive if not self._waits(rank)]
        if not waiting:
            self._told = False
        elif self._rank == 0 and not self._told and not self.failure and len(busy) == 1:
            self._told = True
            beat = alive[busy[0]]
            log.info(
                "the other processes have waited %.0f s for %s, which is in %s after step %s",
                min(each.still for each in waiting),
                beat.name(busy[0]),
                beat.place,
                f"{beat.step:,}",
            )


@cache
def _namespace() -> str:
    """Return what the pids of this process's container are told from others by."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""
