"""Initialization rules: which parameters they match, and the values that those get."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.support.specs import net
from torchconsole.engine.components.initialization import initialize
from torchconsole.engine.config.schema import InitRule
from torchconsole.engine.errors import ComponentError


def model() -> Any:
    return net(conv=nn.Conv2d(3, 64, 3), norm=nn.BatchNorm2d(64), head=nn.Linear(8, 4), rnn=nn.LSTM(4, 6))


def rule(init: str, **keys: Any) -> InitRule:
    return InitRule(init=init, **keys)


def test_a_rule_changes_only_the_layers_it_names() -> None:
    of = model()
    before = of.head.weight.clone()
    initialize(of, [rule("kaiming_normal_", layers=["Conv2d"], args={"nonlinearity": "relu"})])
    assert float(of.conv.weight.detach().std()) == pytest.approx((2 / 27) ** 0.5, rel=0.1)
    assert torch.equal(of.head.weight, before)


def test_recurrent_weights_can_be_made_orthogonal() -> None:
    of = model()
    initialize(of, [rule("orthogonal_", layers=["LSTM"], parameters="weight_hh*")])
    product = of.rnn.weight_hh_l0.T @ of.rnn.weight_hh_l0
    assert torch.allclose(product, torch.eye(6), atol=1e-5)


def test_a_rule_for_matrices_without_layers_skips_norms() -> None:
    of = model()
    initialize(of, [rule("xavier_uniform_"), rule("constant_", parameters="bias*", args={"val": 0.25})])
    assert torch.equal(of.norm.weight, torch.ones(64))
    assert float(of.head.weight.detach().abs().max()) <= (6 / 12) ** 0.5
    for bias in (of.conv.bias, of.norm.bias, of.head.bias, of.rnn.bias_hh_l0):
        assert (bias == 0.25).all()


def test_rules_apply_in_order_and_full_names_match_too() -> None:
    of = model()
    initialize(of, [rule("zeros_"), rule("ones_", parameters="head.weight")])
    assert not of.conv.weight.any()
    assert not of.norm.weight.any()
    assert (of.head.weight == 1).all()


def test_parameters_to_keep_do_not_change() -> None:
    of = model()
    before = of.conv.weight.clone()
    initialize(of, [rule("zeros_")], keep={"conv.weight"})
    assert torch.equal(of.conv.weight, before)
    assert not of.head.weight.any()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            rule("kaiming_norml_"),
            "model.init.0.init: torch.nn.init has no function 'kaiming_norml_', did",
        ),
        (rule("xavier_uniform"), "did you mean 'xavier_uniform_'?"),
        (rule("calculate_gain"), "torch.nn.init has no function 'calculate_gain'"),
        (
            rule("zeros_", layers=["Conv2"]),
            "model.init.0.layers: there is no layer type 'Conv2', did you mean 'Conv2d'",
        ),
        (rule("zeros_", layers=["GRU"]), "found no parameter 'weight' in the model's GRU layers"),
        (
            rule("zeros_", parameters="wieght"),
            "found no parameter 'wieght' in the model, did you mean 'weight'",
        ),
        (rule("constant_"), "model.init.0.val: constant_ requires this argument"),
        (
            rule("normal_", args={"sd": 1}),
            "model.init.0.sd: normal_ takes no argument 'sd', did you mean 'std'",
        ),
        (rule("orthogonal_", layers=["BatchNorm2d"]), "orthogonal_ rejects these arguments"),
    ],
)
def test_a_wrong_rule_is_reported(broken: InitRule, message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        initialize(model(), [broken])
    assert message in str(caught.value)


def test_biases_are_set_where_there_are_some() -> None:
    of = net(conv=nn.Conv2d(3, 4, 3, bias=False), norm=nn.BatchNorm2d(4), head=nn.Linear(8, 4))
    initialize(of, [rule("constant_", layers=["Conv2d", "Linear"], parameters="bias", args={"val": 0.25})])
    assert (of.head.bias == 0.25).all()
    assert not of.norm.bias.any()


@pytest.mark.parametrize("pattern", ["bias", "bias*", "conv.bias"])
def test_a_rule_for_biases_does_nothing_in_layers_without_any(pattern: str) -> None:
    of = net(conv=nn.Conv2d(3, 4, 3, bias=False), norm=nn.BatchNorm2d(4))
    initialize(of, [rule("ones_", layers=["Conv2d"], parameters=pattern)])
    assert not of.norm.bias.any()
    with pytest.raises(ComponentError, match="found no parameter 'biases' in the model's Conv2d layers"):
        initialize(of, [rule("ones_", layers=["Conv2d"], parameters="biases")])
