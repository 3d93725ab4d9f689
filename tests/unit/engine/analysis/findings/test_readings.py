"""Findings on what metrics take the outputs for: each fault has its finding, and its twin has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.findings import (
    BINARY,
    CLASSES,
    Functional,
    Loss,
    binary,
    found,
)
from tests.support.specs import trusted_file


@pytest.fixture
def own_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name a loss of the user's own; its function is replaced."""
    code = "class Own(nn.Module):\n    def forward(self, outputs, targets):\n        return outputs.mean()\n"
    file = trusted_file(tmp_path, monkeypatch, f"from torch import nn\n{code}")
    return f"loss.name={file}:Own"


def _dice(outputs: Tensor, targets: Tensor) -> Tensor:
    return 1 - (2 * (outputs * targets).sum() + 1) / (outputs.sum() + targets.sum() + 1)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (nn.Sigmoid(), "probabilities"),
        (nn.Hardsigmoid(), "probabilities"),
        (Functional(nn.Identity(), lambda module, x: 1 / (1 + torch.exp(-x))), "probabilities"),
        (Functional(nn.Identity(), lambda module, x: x.sigmoid().clamp(1e-6, 1)), "probabilities"),
        (nn.LogSigmoid(), "log_probabilities"),
    ],
)
def test_probabilities_for_an_own_loss_that_does_not_say_so(end: nn.Module, said: str, own_loss: str) -> None:
    loss = Loss(_dice)
    finding = found(BINARY, own_loss, model=binary(end), loss_fn=loss)["outputs-misread"]
    assert finding.level == "warning"
    assert finding.remedy == f'set loss.outputs = "{said}"'
    followed = found(BINARY, own_loss, f"loss.outputs={said}", model=binary(end), loss_fn=loss)
    assert "outputs-misread" not in followed


@pytest.mark.parametrize(
    ("model", "loss", "remove"),
    [
        (binary(nn.Sigmoid()), lambda x, y: _dice(x.sigmoid(), y), "remove nn.Sigmoid (3)"),
        (binary(nn.Sigmoid()), lambda x, y: _dice(torch.special.expit(x), y), "remove nn.Sigmoid (3)"),
        (
            Functional(binary(), lambda module, x: 1 / (1 + torch.exp(-x))),
            lambda x, y: -F.logsigmoid(x).mul(2 * y - 1).mean(),
            "remove what limits the outputs",
        ),
    ],
)
def test_an_own_loss_that_takes_probabilities_for_logits(
    model: nn.Module, loss: Any, remove: str, own_loss: str
) -> None:
    for said in ("loss.outputs=logits", "loss.outputs=probabilities"):
        findings = found(BINARY, own_loss, said, model=model, loss_fn=Loss(loss))
        assert set(findings) == {"activation-twice"}
        assert findings["activation-twice"].remedy.startswith(remove)


def test_probabilities_in_evaluation_alone_for_an_own_loss(own_loss: str) -> None:
    model = Functional(binary(), lambda module, x: x if module.training else x.sigmoid())
    assert "outputs-misread" in found(BINARY, own_loss, model=model, loss_fn=Loss(_dice))


@pytest.mark.parametrize(
    "end", [nn.Identity(), nn.Tanh(), Functional(nn.Identity(), lambda module, x: 0.01 * x + 0.5)]
)
def test_other_outputs_for_an_own_loss_have_no_finding(end: nn.Module, own_loss: str) -> None:
    loss = Loss(lambda outputs, targets: _dice(outputs.sigmoid(), targets))
    assert not found(BINARY, own_loss, model=binary(end), loss_fn=loss)


def test_classes_of_an_own_loss(own_loss: str) -> None:
    loss = Loss(lambda outputs, targets: -(outputs * F.one_hot(targets, 3)).sum(1).mean())
    soft = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    assert "probabilities" in found(CLASSES, own_loss, model=soft, loss_fn=loss)["outputs-misread"].remedy
    for twin in (nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1))):
        assert not found(CLASSES, own_loss, model=twin, loss_fn=loss)


def test_logits_that_loss_outputs_calls_probabilities(own_loss: str) -> None:
    says = "loss.outputs=probabilities"
    finding = found(BINARY, own_loss, says, model=binary(), loss_fn=Loss(_dice))["outputs-no-probabilities"]
    assert "end the model with a sigmoid" in finding.remedy
    assert not found(BINARY, own_loss, says, model=binary(nn.Sigmoid()), loss_fn=Loss(_dice))
