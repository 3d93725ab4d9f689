"""If a run is extended, its schedule continues as in a run that had the new length from the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.protocol.commands import SetLearningRate
from torchconsole.engine.training.learning_rate import LearningRate

STEPS_PER_EPOCH = 10
WARM_UP = {"name": "LinearLR", "start_factor": 0.1, "until": 15}


def learning_rate(parts: Sequence[dict[str, Any]], epochs: int) -> LearningRate:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    return LearningRate(
        optimizer, [ScheduleConfig.model_validate(part) for part in parts], epochs, STEPS_PER_EPOCH
    )


def train(rate: LearningRate, begin: int, end: int) -> list[float]:
    """The lr of each step after `begin`, up to `end`."""
    seen = []
    for step in range(begin + 1, end + 1):
        seen.append(rate.current)
        rate.step()
        if step % STEPS_PER_EPOCH == 0:
            rate.epoch()
            rate.evaluated({"val/loss": 1.0})
    return seen


@pytest.mark.parametrize(
    "parts",
    [
        [{"name": "OneCycleLR", "max_lr": 0.5}],
        [{"name": "CosineAnnealingLR"}],
        [{"name": "CosineAnnealingLR", "interval": "epoch"}],
        [WARM_UP, {"name": "CosineAnnealingLR"}],
        [WARM_UP, {"name": "PolynomialLR", "interval": "epoch"}],
        [
            {
                "name": "ChainedScheduler",
                "schedulers": [
                    {"name": "CosineAnnealingLR"},
                    {"name": "ExponentialLR", "gamma": 0.9},
                ],
            }
        ],
        [{"name": "ReduceLROnPlateau", "patience": 0, "until": 1}, {"name": "CosineAnnealingLR"}],
    ],
    ids=lambda parts: "+".join(part["name"] for part in parts),
)
@pytest.mark.parametrize("stop", [25, 30])
def test_a_part_fitted_to_the_run_is_stretched(parts: list[dict[str, Any]], stop: int) -> None:
    first, longer = learning_rate(parts, epochs=3), learning_rate(parts, epochs=6)
    train(first, 0, stop)
    longer.load_state_dict(first.state_dict())
    assert "is stretched to it" in longer.describe_length_change()
    assert train(longer, stop, 60) == pytest.approx(train(learning_rate(parts, epochs=6), 0, 60)[stop:])


@pytest.mark.parametrize(
    "part",
    [
        {"name": "MultiStepLR", "milestones": [2, 4]},
        {"name": "CosineAnnealingLR", "T_max": 3},
        {"name": "ReduceLROnPlateau", "patience": 0, "factor": 0.5},
        {
            "name": "ChainedScheduler",
            "schedulers": [
                {"name": "LinearLR"},
                {"name": "ReduceLROnPlateau", "patience": 0},
            ],
        },
    ],
    ids=lambda part: part["name"],
)
def test_a_part_with_a_fixed_length_stays_unchanged(part: dict[str, Any]) -> None:
    first, longer = learning_rate([part], epochs=3), learning_rate([part], epochs=6)
    train(first, 0, 30)
    longer.load_state_dict(first.state_dict())
    assert longer.current == first.current
    assert longer.describe_length_change() == f"{part['name']} stays unchanged"
    assert train(longer, 30, 60) == pytest.approx(train(first, 30, 60))


def test_a_later_part_is_fitted_to_the_new_length() -> None:
    parts = [WARM_UP, {"name": "CosineAnnealingLR"}]
    first, longer = learning_rate(parts, epochs=3), learning_rate(parts, epochs=6)
    train(first, 0, 10)
    longer.load_state_dict(first.state_dict())
    assert longer.describe_length_change() == (
        "LinearLR stays unchanged; CosineAnnealingLR will be fitted to it later"
    )
    assert train(longer, 10, 60) == pytest.approx(train(learning_rate(parts, epochs=6), 0, 60)[10:])


def test_an_lr_set_by_hand_stays_a_scale_of_the_stretched_schedule() -> None:
    parts = [{"name": "CosineAnnealingLR"}]
    first, longer = learning_rate(parts, epochs=3), learning_rate(parts, epochs=6)
    first.apply(SetLearningRate(factor=0.5))
    train(first, 0, 20)
    longer.load_state_dict(first.state_dict())
    assert longer.current == pytest.approx(0.5 * train(learning_rate(parts, epochs=6), 0, 21)[20])
