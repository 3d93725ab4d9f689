"""Measures how much of its time the training spends waiting for data, and warns once if that is a lot."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from torchconsole.engine.components.data.one_by_one import OneByOne

T = TypeVar("T")

RECENT_SECONDS = 10.0
"""The share that is reported is a mean over about this time."""

log = logging.getLogger(__name__)

SHARE = 0.2
"""Share of the time from which on a warning is given."""

LEAST_SECONDS, LEAST_BATCHES = 5.0, 10
"""What must have passed before the share is judged."""

WINDOW = 60.0
"""Seconds after which the share is measured anew, so that a training that slows down late is found."""


class DataWait:
    """Counts the waits for the batches of a training set; those of tensors in memory are not judged.

    The host runs ahead of a GPU and may wait for data while the GPU computes. Such a wait costs nothing if
    the host has to wait for the GPU later. What counts is the wait that follows that one, when the GPU has
    nothing to do, and what exceeds the next wait for the GPU.

    `share` is the share of the recent training time that was spent waiting, from 0 to 1.
    """

    def __init__(self, one_by_one: OneByOne | None, active_seconds: float) -> None:
        self.share = 0.0
        self._recent_waited = self._recent_spent = 0.0
        self._measured_at = active_seconds
        self._new_waited = self._new_left_out = 0.0
        self._one_by_one = one_by_one
        self._warned = False
        self._is_first = True
        self._since = active_seconds
        self._left_out = self._waited = self._hidden = 0.0
        self._batches = 0
        self._device_is_idle = True

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield each of `batches`, and measure how long it takes to arrive."""
        iterator = iter(batches)
        while True:
            begin = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._add(time.perf_counter() - begin)
            yield batch

    def device_waited(self, seconds: float) -> None:
        """Note that the host has just waited so long for the device, which has nothing left to do."""
        self._wait(max(0.0, self._hidden - seconds))
        self._hidden = 0.0
        self._device_is_idle = True

    def leave_out(self, seconds: float) -> None:
        """Note that the last `seconds` of the active time were not training."""
        self._left_out += seconds
        self._new_left_out += seconds

    def restart(self, active_seconds: float) -> None:
        """Measure anew: a window is over, or the process was stopped for an unknown time."""
        self._since = self._measured_at = active_seconds
        self._left_out = self._waited = self._hidden = 0.0
        self._new_waited = self._new_left_out = 0.0
        self._batches = 0

    def measure(self, active_seconds: float) -> float:
        """Update `share` and return it; call this after `device_waited`. `active_seconds` has no pauses."""
        spent = max(0.0, active_seconds - self._measured_at - self._new_left_out)
        kept = math.exp(-spent / RECENT_SECONDS)
        self._recent_spent = kept * self._recent_spent + spent
        self._recent_waited = kept * self._recent_waited + self._new_waited
        if self._recent_spent:
            self.share = round(min(1.0, self._recent_waited / self._recent_spent), 4)
        self._measured_at = active_seconds
        self._new_waited = self._new_left_out = 0.0
        return self.share

    def judge(self, active_seconds: float) -> None:
        """Warn if the share is large; call this after `device_waited`. `active_seconds` has no pauses."""
        if self._one_by_one is None or self._warned:
            return
        spent = active_seconds - self._since - self._left_out
        if spent < LEAST_SECONDS or self._batches < LEAST_BATCHES:
            return
        share = self._waited / spent
        if share > SHARE:
            self._warned = True
            log.warning(
                "the training spends %.0f %% of its time waiting for data: %s",
                100 * share,
                _advice(self._one_by_one, share),
            )
        elif spent > WINDOW:
            self.restart(active_seconds)

    def _add(self, seconds: float) -> None:
        if self._is_first:
            # The workers have only just started.
            self._is_first = False
            self.leave_out(seconds)
            return
        self._batches += 1
        if self._device_is_idle:
            self._wait(seconds)
            self._device_is_idle = False
        else:
            self._hidden += seconds

    def _wait(self, seconds: float) -> None:
        self._waited += seconds
        self._new_waited += seconds


def _advice(one_by_one: OneByOne, share: float) -> str:
    """Return what to change so that data arrive in time."""
    workers, most = one_by_one.num_workers, one_by_one.most_workers
    # Without workers loading and computing take turns; workers load while the training computes.
    enough = math.ceil(workers / (1 - share)) if workers else math.ceil(share / (1 - share))
    if most.count > workers:
        wanted = min(max(enough, workers + 1), most.count)
        return f"stop it, and resume it with --set data.num_workers={wanted} (now {workers})"
    if most.advice:
        return f"with data.num_workers = {workers}, more do not fit; {most.advice}"
    return (
        f"data.num_workers = {workers} keeps all cores busy; store smaller images, use fewer transforms, or "
        f"set data.num_workers = {2 * max(1, workers)} if loading waits for a disk or a network"
    )
