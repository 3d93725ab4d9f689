"""What is computed from all weights of a model that is split over two GPUs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchconsole.engine.components.penalty import Penalty
from torchconsole.engine.config.schema import LossConfig
from torchconsole.engine.training.divergence import checksums
from torchconsole.engine.training.ema import WeightAverage

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8, device="cuda:0"), nn.Linear(8, 2, device="cuda:1"))


def test_a_penalty(model: nn.Module) -> None:
    assert Penalty(model, LossConfig(l1=0.1, l2=0.1))().device == torch.device("cuda:0")


def test_checksums(model: nn.Module) -> None:
    assert checksums(list(model.parameters())).device == torch.device("cuda:0")


def test_an_average_after_a_step_that_may_be_left_out(model: nn.Module) -> None:
    average = WeightAverage(model, 0.9)
    average.update(torch.tensor(False, device="cuda:0"))
    assert [weight.device.index for weight in average.module.parameters()] == [0, 0, 1, 1]
