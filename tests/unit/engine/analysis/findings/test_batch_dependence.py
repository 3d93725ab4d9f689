"""Findings on predictions that depend on the other samples of a batch: each fault has a twin without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from tests.support.findings import CLASSES, Functional, found


def net(layer: nn.Module) -> nn.Module:
    """A layer between two others."""
    return nn.Sequential(nn.Linear(4, 8), layer, nn.Linear(8, 3))


class Rows(nn.Module):
    """A layer that reads features (B, 8) as 4 steps of 2, and gives the last of them."""

    def __init__(self, layer: nn.Module, read: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.read = layer, read

    def forward(self, features: Tensor) -> Tensor:
        return self.read(self.layer, features.unflatten(1, (4, 2)))


def recurrent(**options: Any) -> nn.Module:
    return Rows(nn.LSTM(2, 8, **options), lambda layer, x: layer(x)[0][:, -1])


def attention(**options: Any) -> nn.Module:
    return Rows(nn.MultiheadAttention(2, 1, **options), lambda layer, x: layer(x, x, x)[0].flatten(1))


@pytest.mark.parametrize(
    "faulty",
    [
        recurrent,
        attention,
        lambda: Functional(nn.Identity(), lambda module, x: (x - x.mean(0)) / (x.std(0) + 1e-5)),
        lambda: Functional(nn.Identity(), lambda module, x: x / x.abs().sum()),
    ],
)
def test_outputs_that_depend_on_the_other_samples(faulty: Callable[[], nn.Module]) -> None:
    model = net(faulty())
    finding = found(CLASSES, model=model)["outputs-depend-on-batch"]
    assert finding.level == "warning"
    assert "of the largest output in evaluation" in finding.evidence


@pytest.mark.parametrize(
    "twin",
    [
        lambda: recurrent(batch_first=True),
        lambda: attention(batch_first=True),
        lambda: nn.BatchNorm1d(8),
        lambda: Functional(nn.Identity(), lambda module, x: x / x.abs().sum(1, keepdim=True)),
    ],
)
def test_outputs_of_each_sample_alone_have_no_finding(twin: Callable[[], nn.Module]) -> None:
    assert not found(CLASSES, model=net(twin()))
