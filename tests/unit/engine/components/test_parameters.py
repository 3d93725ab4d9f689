"""Layers are frozen and unfrozen by name, together with their running statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.support.specs import net
from torchconsole.engine.components.parameters import freeze, frozen_modules, unfreeze
from torchconsole.engine.errors import ComponentError


def model() -> Any:
    body = net(conv=nn.Conv2d(1, 2, 1), norm=nn.BatchNorm2d(2), plain=nn.BatchNorm2d(2, affine=False))
    return net(body=body, norm=nn.BatchNorm2d(2), flatten=nn.Flatten(), head=nn.Linear(8, 2))


def frozen_names(of: nn.Module) -> set[str]:
    return {name for name, parameter in of.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize("pattern", ["body.*", "body", "b*"])
def test_a_pattern_matches_parameters_or_modules(pattern: str) -> None:
    of = model()
    names = freeze(of, [pattern])
    assert (
        set(names)
        == frozen_names(of)
        == {
            "body.conv.weight",
            "body.conv.bias",
            "body.norm.weight",
            "body.norm.bias",
        }
    )


def test_unfreezing_does_not_train_other_parameters() -> None:
    of = model()
    of.norm.weight.requires_grad_(False)
    freeze(of, ["body"])
    unfreeze(of, ["body"])
    assert frozen_names(of) == {"norm.weight"}


def test_running_statistics_of_frozen_norms_do_not_change() -> None:
    of = model()
    freeze(of, ["body", "head.bias"])
    assert frozen_modules(of) == [of.body.norm, of.body.plain]
    of.train()
    for module in frozen_modules(of):
        module.eval()
    of(torch.randn(4, 1, 2, 2))
    assert not of.body.norm.running_mean.any()
    assert not of.body.plain.running_mean.any()
    assert of.norm.running_mean.any()


def test_without_patterns_nothing_is_frozen() -> None:
    of = model()
    assert freeze(of, []) == []
    assert frozen_modules(of) == []


def test_wrong_patterns_are_reported() -> None:
    with pytest.raises(
        ComponentError, match=r"model\.freeze: 'boddy' matches no parameter, did you mean 'body\.\*'"
    ):
        freeze(model(), ["boddy"])
    with pytest.raises(ComponentError, match="every parameter is frozen; leave at least one to train"):
        freeze(model(), ["*"])
