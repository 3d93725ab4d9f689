"""Initialisation rules: which parameters each means, and what it makes of them."""

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


def test_a_rule_draws_the_layers_it_names_and_no_others() -> None:
    of = model()
    before = of.head.weight.clone()
    initialize(of, [rule("kaiming_normal_", layers=["Conv2d"], args={"nonlinearity": "relu"})])
    assert float(of.conv.weight.std()) == pytest.approx((2 / 27) ** 0.5, rel=0.1)
    assert torch.equal(of.head.weight, before)


def test_recurrent_weights_become_orthogonal() -> None:
    of = model()
    initialize(of, [rule("orthogonal_", layers=["LSTM"], parameters="weight_hh*")])
    product = of.rnn.weight_hh_l0.T @ of.rnn.weight_hh_l0
    assert torch.allclose(product, torch.eye(6), atol=1e-5)


def test_without_layers_a_rule_for_matrices_passes_over_norms() -> None:
    of = model()
    initialize(of, [rule("xavier_uniform_"), rule("constant_", parameters="bias*", args={"val": 0.25})])
    assert torch.equal(of.norm.weight, torch.ones(64))
    assert float(of.head.weight.abs().max()) <= (6 / 12) ** 0.5
    for bias in (of.conv.bias, of.norm.bias, of.head.bias, of.rnn.bias_hh_l0):
        assert (bias == 0.25).all()


def test_rules_apply_in_order_and_full_names_match_too() -> None:
    of = model()
    initialize(of, [rule("zeros_"), rule("ones_", parameters="head.weight")])
    assert not of.conv.weight.any()
    assert not of.norm.weight.any()
    assert (of.head.weight == 1).all()


def test_what_is_kept_stays_as_it_is() -> None:
    of = model()
    before = of.conv.weight.clone()
    initialize(of, [rule("zeros_")], keep={"conv.weight"})
    assert torch.equal(of.conv.weight, before)
    assert not of.head.weight.any()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (rule("kaiming_norml_"), "model.init.0.init: there is no 'kaiming_norml_' in torch.nn.init, did you"),
        (rule("xavier_uniform"), "did you mean 'xavier_uniform_'?"),
        (rule("calculate_gain"), "there is no 'calculate_gain'"),
        (
            rule("zeros_", layers=["Conv2"]),
            "model.init.0.layers: there is no layer 'Conv2', did you mean 'Conv2d'",
        ),
        (rule("zeros_", layers=["GRU"]), "no parameter 'weight' to draw in the model's GRU layers"),
        (
            rule("zeros_", parameters="wieght"),
            "no parameter 'wieght' to draw in the model, did you mean 'weight'",
        ),
        (rule("constant_"), "model.init.0.val: constant_ needs it"),
        (
            rule("normal_", args={"sd": 1}),
            "model.init.0.sd: normal_ takes no argument 'sd', did you mean 'std'",
        ),
        (rule("orthogonal_", layers=["BatchNorm2d"]), "orthogonal_ refuses these arguments"),
    ],
)
def test_a_wrong_rule_is_one_message(broken: InitRule, message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        initialize(model(), [broken])
    assert message in str(caught.value)
