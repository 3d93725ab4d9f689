"""The rules of the health monitor, fed with figures."""

from __future__ import annotations

import math

import pytest

from torchconsole.engine.analysis.health_rules import Evaluation, Overfitting


def messages(val_losses: list[float], train_losses: list[float]) -> list[str]:
    rule = Overfitting()
    found = [
        rule.evaluation(Evaluation(step, {"val/loss": val}, False, train, math.nan, None))
        for step, (val, train) in enumerate(zip(val_losses, train_losses, strict=True), 1)
    ]
    return [message for message in found if message]


RISING = [0.5, *[1.0] * 6]
FALLING = [0.6, *[0.2] * 6]


def test_a_validation_loss_that_rises_above_a_falling_training_loss_is_overfitting() -> None:
    assert messages(RISING, FALLING)[0].startswith("overfitting since step 1: the validation loss has risen")


@pytest.mark.parametrize(
    ("val", "train"),
    [
        (RISING, [0.6] * 7),
        ([0.5, *[0.7] * 6], FALLING),
        ([0.03, *[0.06] * 6], [0.4, *[0.35] * 6]),
        ([math.nan, *[1.0] * 6], FALLING),
    ],
    ids=["training does not fall", "a slight rise", "below the training loss", "no best loss"],
)
def test_its_twins_are_not(val: list[float], train: list[float]) -> None:
    assert messages(val, train) == []
