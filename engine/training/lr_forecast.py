"""Computes the lrs of the remaining steps by running a copy of the schedule ahead of the training.

Most schedules of torch compute each lr from the one before, so every step has to be taken, at 2 to 10
microseconds each. A thread of its own does that, and rests four fifths of the time.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.components.schedules import ScheduleSequence
from torchconsole.engine.config.schema import ScheduleConfig, SchedulerConfig
from torchconsole.engine.protocol.events import Event, SchedulePlanned
from torchconsole.engine.protocol.points import Points, decimate
from torchconsole.engine.protocol.reports import LrAt
from torchconsole.engine.training.learning_rate import LearningRate

log = logging.getLogger(__name__)

MOST_STEPS = 1_000_000
"""Most steps to look ahead; later ones are left out."""

BUCKETS = 100
"""Intervals that the steps ahead are divided into; of each the lowest and the highest lr are kept."""

CHUNK = 100
REST = 4.0
"""After CHUNK steps the thread rests, REST times as long as they took."""


@dataclass(frozen=True)
class LrForecast:
    """Future lrs. steps: (N,) ascending; lrs: (groups, N). `metric` is the first that they depend on."""

    steps: NDArray[np.int64]
    lrs: NDArray[np.float64]
    metric: str | None


def forecast_lr(
    schedule: ScheduleSequence, step: int = 0, done: int = 0, rest: Callable[[], None] = lambda: None
) -> LrForecast:
    """Run `schedule` to its end from `step`, the `done`-th step of its epoch, and return its lrs.

    A part that depends on a metric is assumed to keep its lr. `rest` is called after every CHUNK steps. The
    lrs are the scheduled ones, without scale and hold, at some hundreds of the steps.
    """
    return _thinned(_run_ahead(schedule, step, done, rest))


def preview_lr(schedule: ScheduleSequence) -> tuple[LrForecast, list[LrAt]]:
    """Return the forecast of a whole run, and the lr at the start of its first, middle and last epoch.

    Epochs beyond MOST_STEPS are left out. `schedule` is at its end afterwards.
    """
    ahead = _run_ahead(schedule, 0, 0, lambda: None)
    epochs = math.ceil(schedule.total_steps / schedule.steps_per_epoch)
    first_steps = {epoch: (epoch - 1) * schedule.steps_per_epoch for epoch in (1, (epochs + 1) // 2, epochs)}
    shown = [
        LrAt(epoch=epoch, lr=float(ahead.lrs[0, index]))
        for epoch, index in first_steps.items()
        if index < len(ahead.steps)
    ]
    return _thinned(ahead), shown


def describe_units(parts: Sequence[ScheduleConfig]) -> str:
    """Return what each part of a schedule counts; the parts must have their intervals.

    Example: `LinearLR by step until step 50, then StepLR by epoch`. Empty if there is no schedule.
    """
    return ", then ".join(
        " x ".join(_describe_unit(member) for member in part.members.values())
        + (f" until {part.interval} {part.until:,}" if part.until is not None else "")
        for part in parts
    )


def _describe_unit(member: SchedulerConfig) -> str:
    if member.name == "ReduceLROnPlateau":
        mode = member.arguments.get("mode")
        return f"{member.name} by {member.monitor}{f' ({mode})' if mode else ''}"
    return f"{member.name} by {member.interval}"


def _run_ahead(schedule: ScheduleSequence, step: int, done: int, rest: Callable[[], None]) -> LrForecast:
    """See `forecast_lr`; return the lrs of all steps."""
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
    return LrForecast(steps, np.array(lrs).reshape(len(steps), len(schedule.lrs)).T, metric)


def _thinned(ahead: LrForecast) -> LrForecast:
    """Keep the first step and the extremes of every group, all groups at the same steps."""
    kept = [decimate(ahead.steps, lrs, BUCKETS)[0] for lrs in ahead.lrs]
    chosen = np.unique(np.concatenate([ahead.steps[:1], *kept]))
    return LrForecast(chosen, ahead.lrs[:, np.searchsorted(ahead.steps, chosen)], ahead.metric)


class _SupersededError(Exception):
    """A newer forecast was started."""


class LrForecaster:
    """Emits `SchedulePlanned` with the lrs to come; the training thread does not wait for it."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._newest = 0

    def start(self, learning_rate: LearningRate, step: int, done: int) -> None:
        """Start a forecast, see `forecast_lr`; one that is still running is cancelled.

        None is made of a schedule that shares generators or counters with its copies: it would change them.
        """
        self.cancel()
        if learning_rate.shares_state:
            return
        arguments = (self._newest, learning_rate.copy_schedule(), learning_rate.base, step, done)
        threading.Thread(target=self._run, args=arguments, name="lr-forecast", daemon=True).start()

    def cancel(self) -> None:
        """Cancel the forecast that is running."""
        self._newest += 1

    def _run(self, number: int, schedule: ScheduleSequence, base: float, step: int, done: int) -> None:
        rest = _Rest(lambda: self._newest == number)
        try:
            ahead = forecast_lr(schedule, step, done, rest)
            rest()
        except _SupersededError:
            return
        except Exception as error:  # noqa: BLE001 - the user's own schedule may raise anything
            log.warning("cannot compute the lrs to come: %s: %s", type(error).__name__, error)
            return
        scheduled = Points.of(ahead.steps.tolist(), ahead.lrs[0].tolist())
        self._emit(SchedulePlanned(scheduled=scheduled, metric=ahead.metric, base=base))


class _Rest:
    """Leaves time to other threads. Raises _SupersededError if a newer forecast was started."""

    def __init__(self, is_newest: Callable[[], bool]) -> None:
        self._is_newest = is_newest
        self._since = time.perf_counter()

    def __call__(self) -> None:
        if not self._is_newest():
            raise _SupersededError
        time.sleep(REST * (time.perf_counter() - self._since))
        self._since = time.perf_counter()
