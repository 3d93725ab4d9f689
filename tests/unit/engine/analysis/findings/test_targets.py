"""Findings on the shapes and ranges of outputs and targets: each fault has its finding, its twin has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.findings import (
    AMOUNTS,
    Loss,
    checked,
    found,
)


@pytest.mark.parametrize(
    "loss",
    [
        lambda outputs, targets: F.mse_loss(outputs.squeeze(1), targets),
        lambda outputs, targets: (outputs.squeeze(1) - targets).square().mean(),
        lambda outputs, targets: (targets.squeeze(1) - outputs).abs().mean(),
        lambda outputs, targets: F.huber_loss(outputs, targets.flatten()),
        lambda outputs, targets: F.l1_loss(targets.view(-1), outputs),
        lambda outputs, targets: (outputs - torch.log1p(targets.squeeze(1) ** 2)).square().mean(),
        lambda outputs, targets: (1 - (2 * targets[:, 0] - 1) * outputs).clamp(min=0).mean(),
        lambda outputs, targets: (outputs / (targets.squeeze(1) + 10) - 1).square().mean(),
        lambda outputs, targets: -((outputs - outputs.mean()) * (targets - targets.mean()).flatten()).mean(),
        lambda outputs, targets: (outputs * torch.where(targets[:, 0] > 0, 1.0, -1.0)).mean(),
        lambda outputs, targets: torch.where(targets[:, 0] > 0, outputs, -outputs).mean(),
        lambda outputs, targets: F.softplus(outputs.mul(targets[:, 0])).mean(),
        lambda outputs, targets: F.hinge_embedding_loss(outputs, targets[:, 0].sign()),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_shapes_that_broadcast(loss: Any) -> None:
    finding = found(AMOUNTS, model=nn.Linear(10, 1), loss_fn=Loss(loss))["targets-broadcast"]
    assert finding.level == "error"
    assert "become (32, 32)" in finding.evidence


@pytest.mark.parametrize(
    "loss",
    [
        lambda outputs, targets: F.mse_loss(outputs, targets),
        lambda outputs, targets: (outputs - targets).square().mean(),
        lambda outputs, targets: (outputs.mean() - targets.mean()).square(),
        lambda outputs, targets: ((outputs - outputs.T) - (targets - targets.T)).square().mean(),
        lambda outputs, targets: F.mse_loss(outputs, torch.zeros(())) + F.l1_loss(outputs, targets),
        lambda outputs, targets: (outputs - torch.arange(3.0)).mean() + F.l1_loss(outputs, targets),
        lambda outputs, targets: (
            (outputs.unsqueeze(1) - torch.ones(4, 1)).mean() + F.l1_loss(outputs, targets)
        ),
        lambda outputs, targets: F.mse_loss(outputs, torch.zeros(7)) + F.l1_loss(outputs, targets),
        lambda outputs, targets: F.mse_loss(outputs.relu(), targets) + F.mse_loss(outputs, targets),
        lambda outputs, targets: (1 - (2 * targets - 1) * outputs).clamp(min=0).mean(),
        lambda outputs, targets: (outputs.flatten() * (targets[:, 0] > 0)).mean(),
        lambda outputs, targets: ((outputs - outputs.T) * (targets - targets.T).sign()).mean(),
        lambda outputs, targets: (outputs * targets.mean()).mean() + F.l1_loss(outputs, targets),
        lambda outputs, targets: (outputs * torch.ones(5)).mean() + F.l1_loss(outputs, targets),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_shapes_that_fit_have_no_finding(loss: Any) -> None:
    assert not found(AMOUNTS, model=nn.Linear(10, 1), loss_fn=Loss(loss))


class Ordinal(nn.Module):
    """A cumulative link loss: outputs (B, 1) are compared with trained limits between the amounts."""

    def __init__(self, limits: nn.Parameter | Tensor) -> None:
        super().__init__()
        self.limits = limits

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        levels = (targets - self.limits > 0).float()
        return F.binary_cross_entropy_with_logits(outputs - self.limits, levels)


def test_limits_of_an_ordinal_loss_are_no_targets() -> None:
    for limits in (torch.tensor([-1.0, 0.0, 1.0]), nn.Parameter(torch.zeros(3))):
        findings = found(AMOUNTS, model=nn.Linear(10, 1), loss_fn=Ordinal(limits))
        assert "targets-broadcast" not in findings


def test_quantiles_that_share_a_target_have_no_finding() -> None:
    pinball = Loss(lambda outputs, targets: (targets - outputs).abs().mean())
    parts = checked(AMOUNTS, model=nn.Linear(10, 1)).setup
    assert not found(AMOUNTS, model=nn.Linear(10, 3), loss_fn=pinball, metrics=_NoMetrics(parts.metrics))


class _NoMetrics:
    """Metrics that take any outputs."""

    def __init__(self, metrics: Any) -> None:
        self._metrics = metrics

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self._metrics.update(outputs[:, :1], targets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metrics, name)


@pytest.mark.parametrize(("layer", "helps"), [(nn.ReLU, True), (nn.Sigmoid, False)])
def test_targets_as_they_are_are_proposed_only_if_the_outputs_can_reach_these(
    layer: Callable[[], nn.Module], helps: bool
) -> None:
    model = nn.Sequential(nn.Linear(10, 1), layer())
    finding = found(AMOUNTS, "loss.name=HuberLoss", model=model)["targets-out-of-reach"]
    assert ("data.scale_target = false" in finding.remedy) is helps
