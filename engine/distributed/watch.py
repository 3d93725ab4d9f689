"""Each process says every few seconds how far it is, so that the others can name one that hangs or is gone.

Two threads: one exchanges the beats through the store, where it may hang itself if the network is cut. The
other counts the seconds, and ends the process once the training thread has not gone on for the timeout.

What may take longer is not counted, up to ten times the timeout: a preparation that computes or reads, and
waiting for the disk with the checkpoints. Nor is waiting for another process that does so.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch._C._distributed_c10d import Store
from torch.distributed import DistError

from torchconsole.engine.distributed.agreement import FollowerQueue, LeaderQueue
from torchconsole.engine.distributed.diagnosis import (
    Absence,
    Beat,
    Doing,
    find_place,
    longest,
    longest_silence,
    why_stuck,
)
from torchconsole.engine.distributed.store import copy_of
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.progress import Progress

BEAT, VERDICT = "beat", "verdict"

BEAT_SECONDS = 2.0
"""Seconds between two beats; a tenth of the timeout if that is shorter."""

LEAST_WORK = 0.0005
"""Share of a core that a preparation takes at least, else it hangs.

A loop that polls every second takes less; a download or a scan of a slow disk takes more.
"""

GRACE_BEATS = 3
"""Beats that a process which does not lead leaves the leader to say what has happened."""


class Watched(NamedTuple):
    """What tells how far the training thread is."""

    progress: Progress
    commands: CommandQueue
    channel: LeaderQueue | FollowerQueue


class Watch:
    """Watches over the training thread of this process, which creates it, and over the other processes.

    From their start on; `watched` is known once the training begins.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        size: int,
        seconds: float,
        watched: Watched | None,
        end: Callable[[str], object],
    ) -> None:
        """`end` is called in a thread with the reason once nothing has gone on for `seconds`."""
        self.beats: dict[int, Beat] = {}
        self.unheard: dict[int, float] = {}
        """For how many seconds each of the others has not been heard of, as far as this process was awake."""
        self.verdict = ""
        self._store = copy_of(store)
        self._rank = rank
        self._others = [other for other in range(size) if other != rank]
        self._seconds = seconds
        self._period = min(BEAT_SECONDS, seconds / 10)
        self.watched = watched
        """How far the training is; None while this process prepares it."""
        self._end = end
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._number = 0
        self._mark = (-1, -1)
        self._worked = 0.0
        self._still = self._held = 0.0
        self._is_at_disk = False
        self._absence = Absence(seconds)
        self._is_over = False
        self._closed = threading.Event()

    def start(self) -> None:
        """Start to exchange beats and to judge them."""
        with contextlib.suppress(DistError):  # the training thread will find out too
            self._exchange()
        for work in (self._exchange_forever, self._judge_forever):
            threading.Thread(target=work, name="torchconsole-watch", daemon=True).start()

    def begin_training(self, watched: Watched) -> None:
        """Watch how far the training is from now on, and tell the others at once: it may fail soon."""
        self.watched = watched
        with contextlib.suppress(DistError):
            self._say()

    @contextlib.contextmanager
    def at_disk(self) -> Iterator[None]:
        """Say that the training thread waits for the disk with the checkpoints."""
        before, self._is_at_disk = self._is_at_disk, True
        try:
            yield
        finally:
            self._is_at_disk = before

    def close(self) -> None:
        """Tell the others that the training of this process has ended as it should."""
        self._is_over = True
        self._closed.set()

    def _exchange_forever(self) -> None:
        with contextlib.suppress(DistError):  # the others are then not heard of any more
            while not self._closed.wait(self._period):
                self._exchange()
            self._say()

    def _exchange(self) -> None:
        self._say()
        if not self.verdict and self._store.check([VERDICT]):
            self.verdict = self._store.get(VERDICT).decode()
        for rank in self._others:
            if self._store.check([key := f"{BEAT}/{rank}"]):
                beat = Beat.model_validate_json(self._store.get(key))
                if rank not in self.beats or beat.number != self.beats[rank].number:
                    self.unheard[rank] = 0.0
                    self._absence.forget()
                self.beats[rank] = beat

    def _say(self) -> None:
        beat = self._own()
        self.beats[self._rank] = beat
        self._store.set(f"{BEAT}/{self._rank}", beat.model_dump_json())
        if self.verdict:
            self._store.compare_set(VERDICT, "", self.verdict)

    def _own(self) -> Beat:
        self._number += 1
        doing: Doing = "disk" if self._is_at_disk else "training" if self.watched else "preparing"
        place, waits = find_place(self._thread, doing)
        step, batches = self._progress()
        return Beat(
            number=self._number,
            host=socket.gethostname(),
            pid=os.getpid(),
            step=max(step, 0),
            batches=max(batches, 0),
            still=self._held if self._takes_too_long() else self._still,
            doing=doing,
            place=place,
            waits=waits,
            is_over=self._is_over,
        )

    def _progress(self) -> tuple[int, int]:
        """Return the steps and the batches until now; -1 before the training begins."""
        if self.watched is None:
            return -1, -1
        return self.watched.progress.step, self.watched.commands.batches

    def _judge_forever(self) -> None:
        """Count in beats and not by a clock: while the whole job is suspended, nobody is late."""
        while not self._closed.wait(self._period):
            self._absence.note(self._period)
            self._count()
            for rank in self._others:
                self.unheard[rank] = self.unheard.get(rank, 0.0) + self._period
            if self.verdict or self._is_stuck():
                break
        else:
            return
        if not self.verdict:
            self.verdict = self.absence or why_stuck(self._latest(), dict(self.unheard), self._seconds)
        if self._rank:
            self._closed.wait(GRACE_BEATS * self._period)
        if not self._closed.is_set():
            self._end(self.verdict)

    @property
    def absence(self) -> str:
        """See `KnowsBeats`."""
        return self._absence.describe(self.beats[self._rank], self._rank)

    def _latest(self) -> dict[int, Beat]:
        """Return the beats of all, this process's as it is now."""
        return self.beats | {self._rank: self._own()}

    def _count(self) -> None:
        """Count for how long the training thread has not gone on."""
        now, worked = self._progress(), time.clock_gettime(self._clock)
        is_paused = self.watched is not None and self.watched.channel.is_waiting
        if now != self._mark or is_paused:
            self._still = self._held = 0.0
        else:
            self._held += self._period
            if self.watched is None and worked - self._worked >= LEAST_WORK * self._period:
                self._still = 0.0
            elif not self._may_last():
                self._still += self._period
        self._mark, self._worked = now, worked

    def _may_last(self) -> bool:
        """Whether the training thread waits for a disk, or for another process that may take long."""
        own = self.beats.get(self._rank)
        waits = own is not None and own.waits
        return self._is_at_disk or (
            waits and any(self.beats[rank].may_last for rank in self._others if rank in self.beats)
        )

    def _takes_too_long(self) -> bool:
        return self._held >= longest(self._seconds)

    def _is_stuck(self) -> bool:
        if self._still >= self._seconds or self._takes_too_long():
            return True
        return any(
            late >= longest_silence(beat, self._seconds)
            for rank, late in self.unheard.items()
            if (beat := self.beats.get(rank)) is None or not beat.is_over
        )
