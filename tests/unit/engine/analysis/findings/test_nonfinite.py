"""Findings on nan and infinite numbers of the first step: each stops the run, unless it skips such steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.findings import AMOUNTS, CLASSES, Findings, Functional, Loss, data_of, found

SKIP = "training.nonfinite=skip"


def names(findings: Findings) -> dict[str, str]:
    """The levels of the findings on numbers."""
    return {name: each.level for name, each in findings.items() if name.startswith("nonfinite")}


def head(function: Callable[[nn.Module, Tensor], Tensor]) -> nn.Module:
    return Functional(nn.Linear(4, 3), function)


def test_a_loss_of_nan_says_where_the_first_one_comes_from() -> None:
    model = head(lambda module, scores: scores / scores.sum().sub(scores.sum()))
    finding = found(CLASSES, model=model)["nonfinite-loss"]
    assert finding.level == "error"
    assert "weights are finite, but the model's outputs are not" in finding.evidence
    assert names(found(CLASSES, SKIP, model=model))["nonfinite-loss"] == "warning"


def test_nan_in_inputs_targets_weights_and_loss() -> None:
    data = data_of(
        CLASSES, lambda inputs, targets: (inputs.index_fill(1, torch.tensor(0), torch.nan), targets)
    )
    assert "16 of 64 values of its inputs" in found(CLASSES, data=data)["nonfinite-loss"].evidence
    data = data_of(AMOUNTS, lambda inputs, targets: (inputs, targets * torch.inf))
    assert "values of its targets" in found(AMOUNTS, data=data)["nonfinite-loss"].evidence
    model = nn.Linear(4, 3)
    nn.init.constant_(model.bias, torch.nan)
    assert found(CLASSES, model=model)["nonfinite-loss"].evidence.endswith("weights are nan: bias")
    own = Loss(lambda outputs, targets: F.cross_entropy(outputs, targets) + (outputs.sum() * 0).log())
    assert "what the loss makes of them is not" in found(CLASSES, loss_fn=own)["nonfinite-loss"].evidence


def test_a_gradient_of_nan() -> None:
    """The square root of 0 has an infinite derivative, and infinity times 0 is nan."""
    model = head(lambda module, scores: scores + (scores * 0).sqrt())
    finding = found(CLASSES, model=model)["nonfinite-gradients"]
    assert finding.level == "error"
    assert "2 of 2 gradients are nan or infinite: layer.weight, layer.bias" in finding.evidence
    assert names(found(CLASSES, SKIP, model=model)) == {"nonfinite-gradients": "warning"}


def test_weights_that_overflow() -> None:
    found_now = found(CLASSES, "optimizer={name='SGD', lr=1e39}", "schedule=[]", model=nn.Linear(4, 3))
    assert names(found_now) == {"nonfinite-weights": "error"}
    assert "lower optimizer.lr, which is 1e+39" in found_now["nonfinite-weights"].remedy


def test_a_validation_loss_of_nan() -> None:
    model = head(lambda module, scores: scores if module.training else scores * torch.nan)
    assert names(found(CLASSES, model=model)) == {"nonfinite-validation-loss": "error"}
    assert names(found(CLASSES, SKIP, model=model)) == {"nonfinite-validation-loss": "warning"}


@pytest.mark.parametrize("preset", [CLASSES, AMOUNTS])
def test_a_healthy_training(preset: str) -> None:
    assert not names(found(preset))
