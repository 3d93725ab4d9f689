"""A training that waits for data is warned of once, with what to change; one that need not wait is not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from torchconsole.engine.components.data.one_by_one import OneByOne, WorkerLimit
from torchconsole.engine.training import data_wait
from torchconsole.engine.training.data_wait import DataWait


class Clock:
    """The time of a simulated training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def batches(self, seconds: float) -> Iterator[None]:
        while True:
            self.now += seconds
            yield


class Loading:
    """What decides the advice."""

    def __init__(self, num_workers: int, most: int, advice: str = "") -> None:
        self.num_workers, self.most_workers = num_workers, WorkerLimit(most, advice)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def train(
    clock: Clock,
    load: float,
    compute: float,
    loading: Loading | None,
    steps: int = 500,
    log_every: int = 5,
    gpu: bool = False,
) -> None:
    """Train with these seconds of loading and computing in each step; a GPU computes while the host loads."""
    one_by_one: OneByOne | None = loading  # type: ignore[assignment]
    wait = DataWait(one_by_one, clock.now)
    ready = clock.now
    for step, _ in enumerate(wait.timed(clock.batches(load)), 1):
        ready = max(ready, clock.now) + compute
        if not gpu:
            clock.now = ready
        if step % log_every == 0:
            behind = max(0.0, ready - clock.now)
            clock.now += behind
            wait.device_waited(behind)
            wait.judge(clock.now)
        if step == steps:
            return


def share(caplog: pytest.LogCaptureFixture) -> int:
    """The percentage in the only warning; 0 if there is none."""
    if not caplog.messages:
        return 0
    [message] = caplog.messages
    found = re.match(r"the training spends (\d+) % of its time waiting for data: ", message)
    assert found, message
    return int(found[1])


@pytest.mark.parametrize(
    ("load", "compute", "percent"), [(0.03, 0.07, 30), (0.3, 0.1, 75), (0.01, 0.09, 0), (0.0, 0.1, 0)]
)
def test_more_than_a_fifth_of_the_time_is_warned_of_once(
    clock: Clock, caplog: pytest.LogCaptureFixture, load: float, compute: float, percent: int
) -> None:
    train(clock, load, compute, Loading(0, 8))
    assert share(caplog) == pytest.approx(percent, abs=1)


@pytest.mark.parametrize("log_every", [1, 7, 50])
@pytest.mark.parametrize(("load", "compute", "idle"), [(0.04, 0.1, False), (0.2, 0.02, True)])
def test_waiting_while_a_gpu_computes_costs_nothing(
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    load: float,
    compute: float,
    idle: bool,
    log_every: int,
) -> None:
    """Unless each step is logged: the GPU then waits for each batch."""
    train(clock, load, compute, Loading(4, 8), log_every=log_every, gpu=True)
    assert (share(caplog) > 0) is (idle or log_every == 1)


@pytest.mark.parametrize(("load", "compute"), [(0.03, 0.07), (0.3, 0.1), (0.0, 0.1)])
def test_the_recent_share_is_measured(clock: Clock, load: float, compute: float) -> None:
    wait = DataWait(None, clock.now)
    for step, _ in enumerate(wait.timed(clock.batches(load)), 1):
        clock.now += compute
        if step % 5 == 0:
            wait.device_waited(0.0)
            wait.measure(clock.now)
        if step == 500:
            break
    assert wait.share == pytest.approx(load / (load + compute), abs=0.01)
    clock.now += 100
    wait.leave_out(50)
    assert wait.measure(clock.now) == pytest.approx(0, abs=0.01)


def test_the_first_batch_and_a_short_training_are_not_judged(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    train(clock, 0.9, 0.1, Loading(0, 8), steps=4)
    train(clock, 0.01, 0.001, Loading(0, 8), steps=200)
    assert share(caplog) == 0


def test_batches_cut_from_memory_are_not_judged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    train(clock, 0.9, 0.1, None)
    assert share(caplog) == 0


def test_a_training_that_slows_down_late_is_found(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    wait = DataWait(Loading(0, 8), 0.0)  # type: ignore[arg-type]

    def run(load: float, steps: int) -> None:
        for step, _ in enumerate(wait.timed(clock.batches(load)), 1):
            clock.now += 0.1
            wait.judge(clock.now)
            if step == steps:
                return

    run(0.0, 36_000)
    assert share(caplog) == 0
    wait.device_waited(0.0)
    run(0.1, 2 * int(data_wait.WINDOW / 0.2))
    wait.device_waited(0.0)
    run(0.1, 60)
    assert share(caplog) > 20


def test_evaluations_are_left_out(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    wait = DataWait(Loading(0, 8), 0.0)  # type: ignore[arg-type]
    for step, _ in enumerate(wait.timed(clock.batches(0.1)), 1):
        clock.now += 0.1 + 10
        wait.leave_out(10)
        wait.device_waited(0.0)
        wait.judge(clock.now)
        if step == 50:
            break
    assert share(caplog) == pytest.approx(50, abs=3)


@pytest.mark.parametrize(
    ("loading", "load", "advice"),
    [
        (Loading(0, 8), 0.03, "resume it with --set data.num_workers=1 (now 0)"),
        (Loading(0, 8), 0.25, "resume it with --set data.num_workers=4 (now 0)"),
        (Loading(0, 2), 0.3, "resume it with --set data.num_workers=2 (now 0)"),
        (Loading(2, 8), 0.07, "resume it with --set data.num_workers=4 (now 2)"),
        (Loading(2, 2, "9 need more: enlarge it"), 0.3, "= 2, more do not fit; 9 need more: enlarge it"),
        (Loading(7, 7), 0.3, "= 7 keeps all cores busy; store smaller images"),
        (Loading(0, 0), 0.3, "set data.num_workers = 2 if loading waits for a disk"),
    ],
)
def test_the_warning_says_what_to_change(
    clock: Clock, caplog: pytest.LogCaptureFixture, loading: Loading, load: float, advice: str
) -> None:
    train(clock, load, 0.07, loading)
    assert advice in caplog.text
