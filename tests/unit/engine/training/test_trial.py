"""What user code raises in a trial pass is one line that names the part, the cause and the user's line."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.findings import IMAGES, Functional, checked
from tests.support.specs import trusted_file
from torchconsole.engine.errors import ComponentError

OWN_ERROR = """
import torch, torchmetrics
from torch import nn

class OwnError(Exception):
    pass

"""


class OwnError(Exception):
    """An error of the user's own code."""


class FailsBackward(torch.autograd.Function):
    """The identity, without a gradient."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        return scores * 1

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise OwnError("no gradient\nsecond line")


def scores() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def fails(*overrides: str, **replaced: Any) -> str:
    with pytest.raises(ComponentError) as caught:
        checked(IMAGES, *overrides, **replaced)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_error_in_the_backward_pass_is_not_that_of_the_loss() -> None:
    message = fails(model=Functional(scores(), lambda module, x: FailsBackward.apply(x)))
    assert message.startswith("loss: the backward pass of CrossEntropyLoss through ")
    assert "fails: OwnError: no gradient (test_trial.py, line " in message


def test_an_error_of_a_metric_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
    class Own(torchmetrics.Metric):
        def update(self, predictions, targets):
            raise OwnError("no file")

        def compute(self):
            return torch.tensor(0.0)
    """
    file = trusted_file(tmp_path, monkeypatch, OWN_ERROR + textwrap.dedent(code))
    message = fails(f'metrics=[{{name="{file}:Own"}}]', model=scores())
    assert message.endswith(f"data: OwnError: no file ({Path(file).name}, line 11)")


def test_an_error_of_a_constructor_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
    class Own(nn.Module):
        def __init__(self):
            raise OwnError("no file")
    """
    file = trusted_file(tmp_path, monkeypatch, OWN_ERROR + textwrap.dedent(code))
    message = fails(f"loss.name={file}:Own", "loss.label_smoothing=")
    assert message == f"loss: Own cannot be built: OwnError: no file ({Path(file).name}, line 11)"


def test_a_tensor_that_a_model_computes_from_a_parameter_in_init() -> None:
    model = Functional(scores(), lambda module, x: x * module.w)
    model.w = 0.01 * nn.Parameter(torch.ones(10)).exp()
    message = fails(model=model)
    assert "keeps a tensor (model.w) with the graph" in message
    assert "make the result the parameter: self.w = nn.Parameter(" in message
