"""Findings on outputs whose limits are known by their values: each fault has its finding, its twin none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.findings import (
    AMOUNTS,
    BINARY,
    CLASSES,
    Functional,
    binary,
    data_of,
    found,
    head,
)


@pytest.mark.parametrize(
    ("function", "remedy"),
    [
        (lambda x: 1 / (1 + torch.exp(-x)), 'set loss.name = "BCELoss", or remove what limits the outputs'),
        (lambda x: 0.5 * (x / (1 + x.abs()) + 1), 'set loss.name = "BCELoss", or'),
        (lambda x: x.clamp(0, 1), 'set loss.name = "BCELoss", or'),
        (lambda x: x * (x > 0), "remove what limits their sign from the end of the model's forward"),
        (lambda x: -x.square(), "remove what limits their sign"),
        (lambda x: x.exp(), "remove what limits their sign"),
    ],
)
def test_bce_with_logits_after_an_activation_written_by_hand(function: Any, remedy: str) -> None:
    model = Functional(binary(), lambda module, x: function(x))
    finding = found(BINARY, model=model)["activation-before-bce-with-logits"]
    assert finding.level == "warning"
    assert "whatever the weights are" in finding.evidence
    assert finding.remedy.startswith(remedy)


def test_bce_with_logits_after_expit_is_the_same_error_as_after_sigmoid() -> None:
    model = Functional(binary(), lambda module, x: torch.special.expit(x))
    finding = found(BINARY, model=model)["activation-before-bce-with-logits"]
    assert finding.level == "error"
    assert finding.evidence.startswith("the outputs come from sigmoid")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 0.01 * x + 0.5,
        lambda x: x + 0.0,
        lambda x: torch.log(x.sigmoid() / (1 - x.sigmoid())),
        lambda x: 0.1 * F.dropout(x, 0.1),
        lambda x: (x - x.mean()) / x.std(),
    ],
)
def test_bce_with_logits_of_functions_without_limits_has_no_finding(function: Any) -> None:
    model = Functional(binary(), lambda module, x: function(x) if module.training else x)
    assert not found(BINARY, model=model)


@pytest.mark.parametrize("function", [torch.exp, torch.square, torch.abs, lambda x: x.cos() / 2 + 0.5])
def test_targets_that_functions_without_a_known_name_cannot_reach(function: Any) -> None:
    def below_zero(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return inputs, targets - targets.mean()

    model, data = head(function, 10, 1), data_of(AMOUNTS, below_zero)
    finding = found(AMOUNTS, model=model, data=data)["targets-out-of-reach"]
    assert finding.level == "warning"
    assert "from the end of the model's forward" in finding.remedy
    twin = data_of(AMOUNTS, lambda inputs, targets: (inputs, targets.sigmoid()))
    assert "targets-out-of-reach" not in found(AMOUNTS, model=model, data=twin)


class _Cosines(nn.Module):
    """Scores that are the cosines between features and the direction of each class, times a scale."""

    def __init__(self, scale: float | None) -> None:
        super().__init__()
        self.features, self.classes = nn.Linear(4, 8), nn.Parameter(torch.randn(3, 8))
        self.scale = nn.Parameter(torch.ones(())) if scale is None else scale

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(self.features(inputs)), F.normalize(self.classes))


class _CosinesAlone(_Cosines):
    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(F.normalize(self.features(inputs)), F.normalize(self.classes))


def test_cosines_before_cross_entropy() -> None:
    finding = found(CLASSES, model=_CosinesAlone(1.0))["activation-before-cross-entropy"]
    assert "whatever the weights are" in finding.evidence


@pytest.mark.parametrize("scale", [None, 4.0])
def test_scaled_cosines_before_cross_entropy_have_no_finding(scale: float | None) -> None:
    assert not found(CLASSES, model=_Cosines(scale))
