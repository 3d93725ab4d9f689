"""Each process says every few seconds how far it is, so that the others can name one that hangs or is gone.

Two threads: one exchanges the beats through the store, where it may hang itself if the network is cut. The
other counts the seconds, and ends the process once the training thread has not gone on for the timeout.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

from torch._C._distributed_c10d import Store
from torch.distributed import DistError

from torchconsole.engine.distributed.agreement import FollowerQueue, LeaderQueue
from torchconsole.engine.distributed.diagnosis import Beat, find_place, why_stuck
from torchconsole.engine.distributed.store import copy_of
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.progress import Progress

BEAT, VERDICT = "beat", "verdict"

BEAT_SECONDS = 2.0
"""Seconds between two beats; a tenth of the timeout if that is shorter."""

SOON = 0.05
"""Seconds between two beats until all processes have been heard of once: one may be gone soon after."""

GRACE_BEATS = 3
"""Beats that a process which does not lead leaves the leader to say what has happened."""


class Watched(NamedTuple):
    """What tells how far the training thread is."""

    progress: Progress
    commands: CommandQueue
    channel: LeaderQueue | FollowerQueue


class Watch:
    """Watches over the training thread of this process, which creates it, and over the other processes."""

    def __init__(
        self,
        store: Store,
        rank: int,
        size: int,
        seconds: float,
        watched: Watched,
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
        self._watched = watched
        self._end = end
        self._thread = threading.get_ident()
        self._number = 0
        self._still = 0.0
        self._is_over = False
        self._closed = threading.Event()

    def start(self) -> None:
        """Start to exchange beats and to judge them."""
        self._exchange()
        for work in (self._exchange_forever, self._judge_forever):
            threading.Thread(target=work, name="torchconsole-watch", daemon=True).start()

    def close(self) -> None:
        """Tell the others that the training of this process has ended as it should."""
        self._is_over = True
        self._closed.set()

    def _exchange_forever(self) -> None:
        with contextlib.suppress(DistError):  # the others are then not heard of any more
            while not self._closed.wait(self._period if len(self.beats) > len(self._others) else SOON):
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
                self.beats[rank] = beat

    def _say(self) -> None:
        beat = self._own()
        self.beats[self._rank] = beat
        self._store.set(f"{BEAT}/{self._rank}", beat.model_dump_json())
        if self.verdict:
            self._store.compare_set(VERDICT, "", self.verdict)

    def _own(self) -> Beat:
        self._number += 1
        place, waits = find_place(self._thread)
        return Beat(
            number=self._number,
            host=socket.gethostname(),
            pid=os.getpid(),
            step=self._watched.progress.step,
            batches=self._watched.commands.batches,
            still=self._still,
            place=place,
            waits=waits,
            is_over=self._is_over,
        )

    def _judge_forever(self) -> None:
        """Count in beats and not by a clock: while the whole job is suspended, nobody is late."""
        mark = (-1, -1)
        while not self._closed.wait(self._period):
            now = self._watched.progress.step, self._watched.commands.batches
            is_still = now == mark and not self._watched.channel.is_waiting
            self._still = self._still + self._period if is_still else 0.0
            mark = now
            for rank in self._others:
                self.unheard[rank] = self.unheard.get(rank, 0.0) + self._period
            if self.verdict or self._is_stuck():
                break
        else:
            return
        if not self.verdict:
            self.verdict = why_stuck(dict(self.beats), dict(self.unheard), self._seconds)
        if self._rank:
            self._closed.wait(GRACE_BEATS * self._period)
        if not self._closed.is_set():
            self._end(self.verdict)

    def _is_stuck(self) -> bool:
        if self._still >= self._seconds:
            return True
        return any(
            seconds >= self._seconds
            for rank, seconds in self.unheard.items()
            if rank not in self.beats or not self.beats[rank].is_over
        )
