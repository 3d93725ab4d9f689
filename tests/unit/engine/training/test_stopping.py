"""Early stopping counts as Keras and Lightning do."""

from __future__ import annotations

import pytest

from torchconsole.engine.config.schema import EarlyStoppingConfig
from torchconsole.engine.training.stopping import EarlyStopping


def following(values: list[float | None], **config: object) -> tuple[EarlyStopping, list[int]]:
    stopping = EarlyStopping(EarlyStoppingConfig.model_validate(config))
    counters = []
    for step, value in enumerate(values, start=1):
        stopping.update({stopping.config.monitor: value}, step)
        counters.append(stopping.counter)
    return stopping, counters


def test_it_counts_evaluations_without_improvement() -> None:
    stopping, counters = following([1.0, 0.9, 0.95, 0.9, 0.8, 0.9, 0.9, 0.9], patience=3)
    assert counters == [0, 0, 1, 2, 0, 1, 2, 3]
    assert stopping.exhausted
    assert stopping.best is not None
    assert (stopping.best.value, stopping.best.step) == (0.8, 5)


def test_an_improvement_must_be_larger_than_min_delta() -> None:
    stopping, counters = following([1.0, 0.95, 0.91, 0.89], patience=5, min_delta=0.1)
    assert counters == [0, 1, 2, 0]
    assert stopping.target == pytest.approx(0.79)


def test_with_mode_max_higher_is_better() -> None:
    stopping, counters = following([0.5, 0.6, 0.6, 0.7], monitor="val/accuracy", mode="max")
    assert counters == [0, 0, 1, 0]
    assert stopping.target == 0.7


def test_a_value_that_is_not_finite_is_never_an_improvement() -> None:
    stopping, counters = following([None, 1.0, None, float("inf")], patience=2)
    assert counters == [1, 0, 1, 2]
    assert stopping.best is not None
    assert stopping.best.value == 1.0


def test_without_a_configuration_it_tracks_the_best_and_never_stops() -> None:
    stopping = EarlyStopping(None)
    for step in range(100):
        stopping.update({"val/loss": 1.0}, step)
    assert not stopping.exhausted
    assert stopping.best is not None


def test_its_state_is_restored() -> None:
    stopping, _ = following([1.0, 2.0, 2.0], patience=3)
    again = EarlyStopping(stopping.config)
    again.load_state_dict(stopping.state_dict())
    again.update({"val/loss": 2.0}, 4)
    assert again.exhausted
    assert again.info().best_step == 1
