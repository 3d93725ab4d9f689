"""The loss of an evaluation is that of all samples in one batch, however they are divided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.specs import USER_CODE, spec
from torchconsole.engine.components.losses import build_loss
from torchconsole.engine.components.mean_loss import MeanLoss
from torchconsole.engine.components.ranks import ALONE
from torchconsole.engine.config.schema import LossConfig

WEIGHTED: list[dict[str, Any]] = [
    {"name": "CrossEntropyLoss"},
    {"name": "CrossEntropyLoss", "weight": [1.0, 5.0, 0.25]},
    {"name": "CrossEntropyLoss", "weight": [1.0, 5.0, 0.0], "label_smoothing": 0.1},
    {"name": "NLLLoss", "weight": [2.0, 0.5, 1.0]},
    {"name": "CrossEntropyLoss", "ignore_index": 1},
    {"name": "CrossEntropyLoss", "ignore_index": 0, "weight": [1.0, 5.0, 0.25]},
    {
        "name": "CrossEntropyLoss",
        "weight": [1.0, 5.0, 0.25],
        "factor": 0.5,
        "also": [{"name": "MultiMarginLoss"}, {"name": "CrossEntropyLoss", "factor": 2.0}],
    },
]


def samples() -> tuple[Tensor, Tensor]:
    """Outputs and targets of 50 samples of three classes."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(50, 3, generator=generator), torch.randint(3, (50,), generator=generator)


def mean_of(config: dict[str, Any], sizes: Sequence[int]) -> tuple[float, float]:
    """The loss of batches of these sizes, and the loss of all samples in one batch."""
    outputs, targets = samples()
    if config["name"] == "NLLLoss":
        outputs = outputs.log_softmax(1)
    loss = build_loss(LossConfig.model_validate(config), spec(), None, USER_CODE)
    mean = MeanLoss(loss)
    for batch in zip(outputs.split(list(sizes)), targets.split(list(sizes)), strict=True):
        mean.update(*batch)
    return mean.compute(ALONE), float(loss(outputs, targets))


@pytest.mark.parametrize("sizes", [[50], [32, 18], [1] * 50, [7, 3, 20, 20]])
@pytest.mark.parametrize("config", WEIGHTED)
def test_the_batches_do_not_matter(config: dict[str, Any], sizes: list[int]) -> None:
    found, expected = mean_of(config, sizes)
    assert found == pytest.approx(expected, rel=1e-6)


def test_without_a_sample_that_counts_the_loss_is_nan() -> None:
    loss = build_loss(LossConfig(name="CrossEntropyLoss", ignore_index=1), spec(), None, USER_CODE)
    mean = MeanLoss(loss)
    mean.update(torch.randn(4, 3), torch.ones(4, dtype=torch.int64))
    assert math.isnan(mean.compute(ALONE))
