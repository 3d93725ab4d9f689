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


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_min_delta_decides_about_the_counter_alone(mode: str, sign: int) -> None:
    """Small steps add up against the value from which the counter started, and each of them is the best."""
    stopping = EarlyStopping(
        EarlyStoppingConfig.model_validate({"monitor": "m", "mode": mode, "min_delta": 0.1, "patience": 5})
    )
    seen = []
    for step, value in enumerate([1.0, 0.95, 0.91, 0.89, 0.9, 0.8]):
        best = stopping.update({"m": sign * value}, step)
        assert stopping.target is not None
        seen.append((stopping.counter, best, round(sign * stopping.target, 9)))
    assert seen == [
        (0, True, 0.9), (1, True, 0.9), (2, True, 0.9), (0, True, 0.79), (1, False, 0.79), (2, True, 0.79),
    ]  # fmt: skip
    again = EarlyStopping(stopping.config)
    again.load_state_dict(stopping.state_dict())
    assert again.info() == stopping.info()
    assert (stopping.info().best, stopping.info().best_step) == (sign * 0.8, 5)


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
