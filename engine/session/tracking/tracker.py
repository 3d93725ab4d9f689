"""Runs each tool in a thread of its own, so that none can delay the training or another tool."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeAlias

from torchconsole.engine.protocol.events import (
    EvaluationCompleted,
    Event,
    MetricsLogged,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
)
from torchconsole.engine.protocol.histograms import WeightHistograms
from torchconsole.engine.session.event_queue import report_error
from torchconsole.engine.text import first_line

log = logging.getLogger(__name__)

PERIOD = 1.0
"""Seconds between two writes."""

LONGEST_PERIOD = 60.0
"""Seconds between two attempts after several failures."""

MOST_ITEMS = 5000
"""Items that wait for a tool, about ten minutes of a fast training; older ones are dropped."""

TRACKED = (RunStarted, RunResumed, MetricsLogged, EvaluationCompleted, RunFinished, RunFailed)
"""The events that tools get."""

Item: TypeAlias = Event | WeightHistograms


class Tracker(Protocol):
    """Writes what a run reports for one tool. All calls come from one thread, and may raise anything."""

    def write(self, items: Sequence[Item]) -> None:
        """Write all items, in order. If it raises, the same and further items come again."""

    def close(self) -> None:
        """End: no further items come."""


class TrackerThread:
    """Hands a tool its items once a second. A failure is reported once, and the items are tried again."""

    def __init__(self, key: str, tracker: Tracker) -> None:
        self._key = key
        self._tracker = tracker
        self._items: deque[Item] = deque(maxlen=MOST_ITEMS)
        self._waiting: list[Item] = []
        self._is_failing = False
        self._is_missing = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"torchconsole-{key}", daemon=True)
        self._thread.start()

    def add(self, item: Item) -> None:
        """Hand over an item. Never waits."""
        self._is_missing |= len(self._items) == MOST_ITEMS
        self._items.append(item)

    def end(self) -> None:
        """Have it write what is left, and close."""
        self._ending.set()

    def wait(self, seconds: float) -> None:
        """Wait for that, for so many seconds."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            report_error(f"tracking.{self._key}: does not answer; what it has not written is lost", "warning")

    def _run(self) -> None:
        period = PERIOD
        while not self._ending.wait(period):
            period = PERIOD if self._write() else min(2 * period, LONGEST_PERIOD)
        while self._write() and self._items:  # an attempt takes MOST_ITEMS
            pass
        with suppress(Exception):  # what it could not write is reported already
            self._tracker.close()

    def _write(self) -> bool:
        """Write what has come; False if that fails."""
        while self._items and len(self._waiting) < MOST_ITEMS:
            self._waiting.append(self._items.popleft())
        if not self._waiting:
            return True
        try:
            self._tracker.write(self._waiting)
        except Exception as error:  # noqa: BLE001 - a library may raise anything, and the training continues
            if not self._is_failing:
                log.error("tracking.%s: cannot be written: %s; will try again", self._key, _cause(error))
            self._is_failing = True
            return False
        if self._is_failing or self._is_missing:
            loss = "; some values are missing" if self._is_missing else ""
            log.warning("tracking.%s: can be written again%s", self._key, loss)
        self._is_failing = self._is_missing = False
        self._waiting.clear()
        return True


class Values(NamedTuple):
    """The values of a step. `time` is in seconds since 1970."""

    step: int
    time: float
    metrics: dict[str, float]


def values_of(item: Item) -> Iterator[Values]:
    """Yield the values of an item, step by step; those that could not be computed are left out."""
    if isinstance(item, MetricsLogged):
        steps: dict[int, dict[str, float]] = {}
        for name, points in item.series.items():
            numbers, values = points.arrays()
            for step, value in zip(numbers.tolist(), values.tolist(), strict=True):
                steps.setdefault(step, {})[name] = value
        for step in sorted(steps):
            yield Values(step, item.time, steps[step])
    elif isinstance(item, EvaluationCompleted):
        flagged = {name: float(kind) for name, kind in item.nonfinite.items()}
        known = {name: value for name, value in item.metrics.items() if value is not None}
        yield Values(item.step, item.time, {**known, **flagged})


def first_step(items: Sequence[Item]) -> int | None:
    """Return the first step that the items have values of; None without any."""
    steps = [values.step for item in items for values in values_of(item)]
    return min(steps, default=None)


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return first_line(error)
