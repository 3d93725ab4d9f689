"""Optimizers: torch's arguments, groups by name, weight decay without norms and biases, frozen parameters."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.specs import USER_CODE, net, trusted_file
from torchconsole.engine.components.optimizers import build_optimizer, takes_fused
from torchconsole.engine.components.parameters import norm_and_bias_names
from torchconsole.engine.config.schema import OptimizerConfig
from torchconsole.engine.errors import ComponentError


def model() -> Any:
    body = net(conv=nn.Conv1d(2, 3, 1), norm=nn.BatchNorm1d(3))
    return net(body=body, rnn=nn.LSTM(3, 2), head=nn.Linear(2, 2))


def build(of: nn.Module, with_frozen: bool = False, **config: Any) -> torch.optim.Optimizer:
    return build_optimizer(OptimizerConfig.model_validate(config), of, USER_CODE, with_frozen=with_frozen)


def groups(of: nn.Module, with_frozen: bool = False, **config: Any) -> list[tuple[set[str], float, float]]:
    """Each group's parameter names, lr and weight decay."""
    names = {id(parameter): name for name, parameter in of.named_parameters()}
    return [
        ({names[id(p)] for p in group["params"]}, group["lr"], group["weight_decay"])
        for group in build(of, with_frozen, **config).param_groups
    ]


def test_optimizers_take_torchs_own_arguments() -> None:
    optimizer = build(nn.Linear(2, 2), name="SGD", lr=0.1, momentum=0.9, nesterov=True)
    assert isinstance(optimizer, torch.optim.SGD)
    assert len(optimizer.param_groups) == 1
    assert optimizer.param_groups[0]["nesterov"] is True


def test_a_parameter_joins_the_first_matching_group_and_the_rest_comes_first() -> None:
    found = groups(
        model(),
        lr=0.1,
        weight_decay=0.5,
        groups=[
            {"match": ["body.norm"], "lr": 0.01, "weight_decay": 0.0},
            {"match": ["body.*", "rnn.bias*"], "lr": 0.001},
        ],
    )
    assert found == [
        ({"rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight", "head.bias"}, 0.1, 0.5),
        ({"body.norm.weight", "body.norm.bias"}, 0.01, 0.0),
        ({"body.conv.weight", "body.conv.bias", "rnn.bias_ih_l0", "rnn.bias_hh_l0"}, 0.001, 0.5),
    ]


def test_norms_and_biases_can_be_excluded_from_decay_in_every_group() -> None:
    found = groups(
        model(),
        lr=0.1,
        weight_decay=0.5,
        decay_norm_and_bias=False,
        groups=[{"match": ["body"], "lr": 0.01}],
    )
    assert found == [
        ({"rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight"}, 0.1, 0.5),
        ({"rnn.bias_ih_l0", "rnn.bias_hh_l0", "head.bias"}, 0.1, 0.0),
        ({"body.conv.weight"}, 0.01, 0.5),
        ({"body.conv.bias", "body.norm.weight", "body.norm.bias"}, 0.01, 0.0),
    ]


def test_all_norm_layers_and_biases_of_torch_are_recognized() -> None:
    layers = [nn.LayerNorm([2, 3]), nn.GroupNorm(1, 2), nn.RMSNorm(4), nn.InstanceNorm2d(2, affine=True)]
    norms = nn.Sequential(*layers)
    assert norm_and_bias_names(norms) == {name for name, _ in norms.named_parameters()}
    attention = nn.MultiheadAttention(4, 2)
    assert norm_and_bias_names(attention) == {"in_proj_bias", "out_proj.bias"}


def test_frozen_parameters_are_excluded_unless_they_are_trained_later() -> None:
    of = model()
    of.body.requires_grad_(False)
    assert not any(name.startswith("body") for name in groups(of)[0][0])
    assert groups(of, with_frozen=True)[0][0] == {name for name, _ in of.named_parameters()}


@pytest.mark.parametrize(
    "config",
    [
        {"weight_decay": 0.5},
        {"weight_decay": 0.5, "fused": True},
        {"name": "SGD", "momentum": 0.9, "fused": True},
        {"name": "Adagrad", "fused": True},
    ],
)
def test_frozen_parameters_do_not_change_until_they_are_trained(config: dict[str, Any]) -> None:
    of: Any = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    of[0].requires_grad_(False)
    optimizer = build(of, with_frozen=True, **config)
    before = of[0].weight.clone()
    for frozen in (True, False):
        of.zero_grad()
        of(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        assert torch.equal(of[0].weight, before) is frozen
        of[0].requires_grad_(True)


def chosen(of: nn.Module, **config: Any) -> Any:
    """What becomes of `fused`: True, or what the preset has of it."""
    preset = OptimizerConfig.model_validate(config)
    return True if takes_fused(preset, of) else preset.arguments.get("fused", "absent")


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_the_fused_implementation_is_used_if_torch_has_one(name: str) -> None:
    assert chosen(model(), name=name) is True
    fused, plain = copy.deepcopy(model()), model()
    fused.load_state_dict(plain.state_dict())
    momentum = {"momentum": 0.9} if name == "SGD" else {}
    optimizers = [
        build(fused, name=name, lr=0.1, weight_decay=0.1, fused=True, **momentum),
        build(plain, name=name, lr=0.1, weight_decay=0.1, **momentum),
    ]
    for step in range(3):
        for of, optimizer in zip((fused, plain), optimizers, strict=True):
            for number, parameter in enumerate(of.parameters()):
                parameter.grad = torch.sin(torch.arange(parameter.numel()) + step + number).view_as(parameter)
            optimizer.step()
    torch.testing.assert_close(fused.state_dict(), plain.state_dict())


@pytest.mark.parametrize(
    ("of", "config", "wanted"),
    [
        (nn.Linear(2, 2), {"name": "RMSprop"}, "absent"),
        (nn.Linear(2, 2), {"name": "file.py:Mine"}, "absent"),
        (nn.Linear(2, 2), {"name": "AdamW", "foreach": True}, "absent"),
        (nn.Linear(2, 2), {"name": "AdamW", "fused": False}, False),
        (nn.Linear(2, 2), {"name": "SGD", "momentum": 0.9, "dampening": 0.1}, "absent"),
        (nn.Linear(2, 2), {"name": "AdamW", "groups": [{"match": ["bias"], "foreach": True}]}, "absent"),
        (nn.Linear(2, 2, dtype=torch.complex64), {"name": "AdamW"}, "absent"),
        (nn.Linear(2, 2, device="meta"), {"name": "AdamW"}, "absent"),
        (nn.Embedding(2, 2, sparse=True), {"name": "SGD"}, "absent"),
    ],
)
def test_fused_is_not_chosen_if_it_is_impossible_or_the_preset_decides(
    of: nn.Module, config: dict[str, Any], wanted: object
) -> None:
    assert chosen(of, **config) == wanted


class OldAdagrad(torch.optim.Adagrad):
    """Adagrad as in a version of torch that cannot fuse it on this device."""

    def __init__(self, params: Any, lr: float = 0.01, *, fused: bool | None = None) -> None:
        if fused:
            raise RuntimeError("`fused=True` requires all the params to be floating point Tensors of ...")
        super().__init__(params, lr)


def test_fused_is_not_chosen_if_this_version_of_torch_lacks_it_for_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chosen(model(), name="Adagrad") is True
    monkeypatch.setattr(torch.optim, "Adagrad", OldAdagrad)
    assert chosen(model(), name="Adagrad") == "absent"
    assert chosen(model(), name="AdamW") is True


def test_tied_parameters_appear_in_one_group_only() -> None:
    of = net(first=nn.Linear(2, 2), second=nn.Linear(2, 2))
    of.second.weight = of.first.weight
    found = groups(of, decay_norm_and_bias=False, groups=[{"match": ["second"], "lr": 0.1}])
    assert [names for names, _, _ in found] == [{"first.weight"}, {"first.bias"}, {"second.bias"}]


def test_an_optimizer_from_user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from torch.optim import SGD\nclass Mine(SGD): pass\nclass Not: pass\n"
    path = trusted_file(tmp_path, monkeypatch, code)
    assert type(build(model(), name=f"{path}:Mine", lr=0.1)).__name__ == "Mine"
    with pytest.raises(ComponentError, match="must be a class derived from Optimizer"):
        build(model(), name=f"{path}:Not")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "AdmaW"}, "optimizer.name: unknown name 'AdmaW', did you mean 'AdamW'?"),
        ({"name": "system"}, "optimizer.name: unknown name 'system'"),
        ({"name": "SGD", "betas": [0.9, 0.99]}, "optimizer.betas: SGD takes no argument 'betas'"),
        ({"name": "SGD", "nesterov": "yes"}, "optimizer.nesterov: must be true or false, got 'yes'"),
        ({"name": "AdamW", "fused": "maybe"}, "optimizer.fused: must be true or false, got 'maybe'"),
        ({"name": "SGD", "foreach": 5}, "optimizer.foreach: must be true or false, got 5"),
        (
            {"groups": [{"match": ["body"], "foreach": "no"}]},
            "optimizer.groups.0.foreach: must be true or false, got 'no'",
        ),
        ({"name": "AdamW", "weight_decay": -1}, "AdamW rejects these arguments: Invalid weight_decay"),
        (
            {"name": "SGD", "momentum": 0.9, "dampening": "x"},
            "SGD cannot step with these arguments",
        ),
        ({"name": "AdamW", "capturable": True}, "optimizer: AdamW cannot step with these arguments"),
        ({"name": "LBFGS"}, "LBFGS cannot be used: it evaluates the loss several times per step"),
        pytest.param(
            {"name": "Muon"},
            "Muon rejects these arguments: Muon only supports 2D parameters",
            marks=pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.8 has no Muon"),
        ),
        (
            {"name": "Rprop", "decay_norm_and_bias": False},
            "optimizer.decay_norm_and_bias: Rprop has no weight_decay",
        ),
        (
            {"groups": [{"match": ["boddy.*"]}]},
            "optimizer.groups.0.match: 'boddy.*' matches no trained parameter, did you mean 'body.*'?",
        ),
        ({"groups": [{"match": ["body"], "mometum": 1}]}, "optimizer.groups.0.mometum: AdamW takes no"),
        ({"groups": [{"match": ["body"], "weight_decay": -1}]}, "optimizer.groups.0: AdamW rejects"),
        ({"groups": [{"match": ["body"]}, {"match": ["body.conv"]}]}, "belong to earlier groups"),
    ],
)
def test_a_wrong_optimizer_is_reported_in_one_line(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        build(model(), **config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_without_parameters_is_reported() -> None:
    with pytest.raises(ComponentError, match="no trainable parameters"):
        build(nn.Flatten())
