"""What is foretold of the schedule is what then happens, and foretelling touches nothing."""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.lr_curves import (
    ARGUMENTS,
    EPOCHS,
    METRICS,
    STEPS_PER_EPOCH,
    TOTAL,
    WARM_UP,
    Case,
    Part,
    cases_for,
    drive,
    learning_rate,
    optimizer,
)
from tests.support.runs import wait_until
from tests.support.specs import trusted_file
from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.protocol.commands import HoldLearningRate, SetLearningRate
from torchconsole.engine.protocol.events import Event, SchedulePlanned
from torchconsole.engine.training import lr_forecast as module
from torchconsole.engine.training.learning_rate import LearningRate
from torchconsole.engine.training.lr_forecast import LrForecaster, forecast_lr

PLATEAU = Part("ReduceLROnPlateau", "epoch")
BY_STEP = [name for name in ARGUMENTS if name != PLATEAU.name]
"""The schedulers that wait for no metric."""


@pytest.mark.parametrize(("done", "case"), cases_for((0, 3, 8, 17, TOTAL), BY_STEP), ids=str)
def test_the_forecast_equals_the_lrs_of_the_run(done: int, case: Case) -> None:
    real = optimizer(case.groups)
    rate = learning_rate(case.parts, real)
    drive(rate, real, {}, last=done)
    before = copy.deepcopy(rate.state_dict())
    ahead = forecast_lr(rate.copy_schedule(), done, done % STEPS_PER_EPOCH)
    assert rate.state_dict() == before
    assert ahead.steps.tolist() == list(range(done + 1, TOTAL + 1))
    assert np.array_equal(ahead.lrs.T, drive(rate, real, {}, first=done + 1).reshape(-1, case.groups))
    assert ahead.metric is None


def test_a_schedule_that_depends_on_a_metric_is_assumed_to_stay_constant() -> None:
    real = optimizer()
    rate = learning_rate((WARM_UP, PLATEAU), real)
    assert forecast_lr(rate.copy_schedule()).metric == "val/loss"
    drive(rate, real, {}, last=3 * STEPS_PER_EPOCH)
    assert METRICS[1] == METRICS[2], "the plateau has lowered the lr"
    ahead = forecast_lr(rate.copy_schedule(), 3 * STEPS_PER_EPOCH)
    assert set(ahead.lrs[0].tolist()) == {rate.current}
    assert rate.current == pytest.approx(0.01)


def test_a_long_curve_is_thinned_but_keeps_its_first_point_and_its_extremes() -> None:
    part = ScheduleConfig.model_validate(
        {"name": "CyclicLR", "base_lr": 0.01, "max_lr": 0.2, "step_size_up": 700}
    )
    rate = LearningRate(optimizer(), [part], 1, 20_000)
    rests: list[None] = []
    ahead = forecast_lr(rate.copy_schedule(), 100, 100, rest=lambda: rests.append(None))
    assert len(ahead.steps) < 500
    assert (ahead.steps[0], ahead.steps[-1]) == (101, 20_000)
    assert ahead.lrs[0].min() == pytest.approx(0.01)
    assert ahead.lrs[0].max() == pytest.approx(0.2)
    assert len(rests) == 199


def test_steps_too_far_ahead_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_STEPS", 5)
    ahead = forecast_lr(learning_rate((Part("ExponentialLR"),)).copy_schedule(), 2)
    assert ahead.steps.tolist() == [3, 4, 5, 6, 7]


class EmittedEvents:
    """Receives what a forecaster emits in its thread."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def next(self) -> SchedulePlanned:
        event = self.events.get(timeout=20)
        assert isinstance(event, SchedulePlanned)
        return event


def test_the_forecast_is_of_the_first_group_without_scale_or_hold() -> None:
    emitted = EmittedEvents()
    rate = learning_rate((Part("ExponentialLR"),))
    rate.apply(SetLearningRate(factor=5.0))
    rate.apply(HoldLearningRate(value=7.0))
    LrForecaster(emitted.events.put).start(rate, 0, 0)
    planned = emitted.next()
    assert planned.scheduled.steps == list(range(1, TOTAL + 1))
    assert planned.scheduled.values == pytest.approx([0.1 * 0.9**step for step in range(TOTAL)])
    assert (planned.metric, planned.base) == (None, pytest.approx(0.1))


def test_after_the_last_step_the_forecast_is_empty() -> None:
    emitted = EmittedEvents()
    LrForecaster(emitted.events.put).start(learning_rate((Part("ExponentialLR"),)), TOTAL, 0)
    assert emitted.next().scheduled.steps == []


def start_a_short_one(forecaster: LrForecaster) -> None:
    """Start a forecast that is done at once."""
    forecaster.start(learning_rate((Part("ExponentialLR"),)), TOTAL, 0)


@pytest.mark.parametrize("end", [start_a_short_one, LrForecaster.cancel])
def test_a_forecast_that_is_superseded_or_cancelled_ends(end: Callable[[LrForecaster], None]) -> None:
    part = ScheduleConfig.model_validate({"name": "ExponentialLR", "gamma": 0.9999})
    emitted, endless = EmittedEvents(), LearningRate(optimizer(), [part], 1, 10**9)
    forecaster = LrForecaster(emitted.events.put)
    forecaster.start(endless, 0, 0)
    [first] = forecasters()
    end(forecaster)
    wait_until(lambda: not first.is_alive(), "the forecaster's thread to end")
    if end is start_a_short_one:
        assert emitted.next().scheduled.steps == []
    assert emitted.events.empty()


def forecasters() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lr-forecast"]


def test_a_user_schedule_that_cannot_be_run_ahead_costs_only_the_forecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "from torch.optim.lr_scheduler import LRScheduler\n"
        "class Moody(LRScheduler):\n"
        "    def get_lr(self):\n"
        "        if self.last_epoch > 3:\n"
        "            raise KeyError('no more')\n"
        "        return self.base_lrs\n"
    )
    name = f"{trusted_file(tmp_path, monkeypatch, code)}:Moody"
    rate = LearningRate(optimizer(), [ScheduleConfig.model_validate({"name": name})], EPOCHS, STEPS_PER_EPOCH)
    emitted = EmittedEvents()
    LrForecaster(emitted.events.put).start(rate, 0, 0)
    wait_until(lambda: not forecasters(), "the forecaster's thread to end")
    assert emitted.events.empty()
    assert "cannot compute the lrs to come: ComponentError: schedule.0: " in caplog.text
    assert "Moody cannot step: KeyError: 'no more' (" in caplog.text
    rate.step()
    assert rate.current == 0.1
