"""The schedule's lrs at the steps that are left: a copy of it is run ahead of the training.

Most schedules of torch reckon each lr from the one before, so every step has to be taken, at 2 to 10
microseconds each. A run's planner does that in a thread of its own that rests four fifths of the time.
"""

from __future__ import annotations

import logging
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.components.schedules import ScheduleChain
from torchconsole.engine.protocol.events import Event, SchedulePlanned
from torchconsole.engine.protocol.points import Points, decimate
from torchconsole.engine.training.learning_rate import LearningRate

log = logging.getLogger(__name__)

MOST_STEPS = 1_000_000
"""Steps looked ahead at most; what comes after them is left out."""

BUCKETS = 100
"""Parts that the steps ahead are cut into, each told by its lowest and its highest lr."""

CHUNK = 100
REST = 4.0
"""After so many steps the planner's thread rests, this many times as long as they took."""


@dataclass(frozen=True)
class LrForecast:
    """The lrs to come. steps: (N,) ascending; lrs: (groups, N). `metric` is the first that they wait for."""

    steps: NDArray[np.int64]
    lrs: NDArray[np.float64]
    metric: str | None


def forecast_lr(
    schedule: ScheduleChain, step: int = 0, done: int = 0, rest: Callable[[], None] = lambda: None
) -> LrForecast:
    """What a schedule has in store after `step`, the `done`-th of its epoch; the schedule is used up.

    A part that goes by a metric is taken to stay at its lr. Calls `rest` after every CHUNK steps. The lrs are
    the schedule's own, without scale and hold, at some hundreds of the steps.
    """
    last = min(schedule.total_steps, step + MOST_STEPS)
    lrs = array("d")
    metric: str | None = None
    left = schedule.steps_per_epoch - done
    for ahead in range(step + 1, last + 1):
        if left <= 0:
            schedule.epoch()
            left = schedule.steps_per_epoch
        metric = metric or schedule.metric
        lrs.extend(schedule.lrs)
        schedule.step()
        left -= 1
        if not ahead % CHUNK:
            rest()
    steps = np.arange(step + 1, last + 1)
    return _thinned(LrForecast(steps, np.array(lrs).reshape(len(steps), len(schedule.lrs)).T, metric))


def _thinned(ahead: LrForecast) -> LrForecast:
    """The first step and the extremes of every group, all groups at the same steps."""
    kept = [decimate(ahead.steps, lrs, BUCKETS)[0] for lrs in ahead.lrs]
    chosen = np.unique(np.concatenate([ahead.steps[:1], *kept]))
    return LrForecast(chosen, ahead.lrs[:, np.searchsorted(ahead.steps, chosen)], ahead.metric)


class _SupersededError(Exception):
    """Nobody wants this plan any more."""


class LrForecaster:
    """Says in `SchedulePlanned` what is to come, without a wait for the training thread that asks for it."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._wanted = 0

    def plan(self, learning_rate: LearningRate, step: int, done: int) -> None:
        """Begin to look ahead, as `forecast_lr` does; an earlier look that goes on is given up."""
        self.cancel()
        here = (self._wanted, learning_rate.copy_schedule(), learning_rate.base, step, done)
        threading.Thread(target=self._say, args=here, name="planner", daemon=True).start()

    def cancel(self) -> None:
        """Give up what is being computed."""
        self._wanted += 1

    def _say(self, number: int, schedule: ScheduleChain, base: float, step: int, done: int) -> None:
        rest = _Rest(lambda: self._wanted == number)
        try:
            ahead = forecast_lr(schedule, step, done, rest)
            rest()
        except _SupersededError:
            return
        except Exception as error:  # noqa: BLE001 - the user's own schedule may raise anything
            log.warning("what the schedule has in store is not known: %s: %s", type(error).__name__, error)
            return
        scheduled = Points.of(ahead.steps.tolist(), ahead.lrs[0].tolist())
        self._emit(SchedulePlanned(scheduled=scheduled, metric=ahead.metric, base=base))


class _Rest:
    """Lets the other threads have their time. Raises _SupersededError once there is no point in going on."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        self._wanted = wanted
        self._since = time.perf_counter()

    def __call__(self) -> None:
        if not self._wanted():
            raise _SupersededError
        time.sleep(REST * (time.perf_counter() - self._since))
        self._since = time.perf_counter()
