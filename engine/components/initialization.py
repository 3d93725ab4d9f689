"""How a model's parameters are drawn: rules by layer type and parameter name, functions of torch.nn.init.

init = [
    { init = "kaiming_normal_", layers = ["Conv2d"], args = { nonlinearity = "relu" } },
    { init = "orthogonal_", layers = ["LSTM"], parameters = "weight_hh*" },
    { init = "zeros_", parameters = "bias*" },
]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn import init

from torchconsole.engine.components.instantiate import call
from torchconsole.engine.config.schema import InitRule
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import did_you_mean

NEEDS_MATRIX = frozenset(
    {
        "dirac_",
        "eye_",
        "kaiming_normal_",
        "kaiming_uniform_",
        "orthogonal_",
        "sparse_",
        "xavier_normal_",
        "xavier_uniform_",
    }
)
"""Functions that go by a layer's fan-in and fan-out or by its rows and columns: no use for a vector."""


def initialize(model: nn.Module, rules: Sequence[InitRule], keep: Collection[str] = ()) -> None:
    """Draw the parameters that each rule means, in the rules' order; the parameters named in `keep` stay.

    A rule without `layers` means all layers, but for vectors (norms' weights) where its function draws
    matrices. Raises ComponentError for an unknown function or layer, for a rule that means no parameter, and
    for one whose function refuses a parameter.
    """
    for number, rule in enumerate(rules):
        section = f"model.init.{number}"
        function = _function(section, rule.init)
        for name, parameter in _targets(section, model, rule):
            if name not in keep:
                call(section, function, {"tensor": parameter}, rule.args)


def functions() -> dict[str, Callable[..., Any]]:
    """What a rule may name: the functions of torch.nn.init that fill a tensor."""
    found = inspect.getmembers(init, inspect.isfunction)
    return {name: function for name, function in found if name.endswith("_") and name[0] != "_"}


def _function(section: str, name: str) -> Callable[..., Any]:
    known = functions()
    if name not in known:
        raise ComponentError(
            f"{section}.init: there is no {name!r} in torch.nn.init{did_you_mean(name, known)}"
        )
    return known[name]


def _targets(section: str, model: nn.Module, rule: InitRule) -> list[tuple[str, nn.Parameter]]:
    """The parameters that a rule means, by their full names; tied ones once."""
    types = {id(p): type(m).__name__ for m in model.modules() for p in m.parameters(recurse=False)}
    for layer in rule.layers:
        if layer not in types.values() and not hasattr(nn, layer):
            nearest = did_you_mean(layer, dict.fromkeys(types.values()))
            raise ComponentError(f"{section}.layers: there is no layer {layer!r}{nearest}")
    of_type = {
        name: parameter
        for name, parameter in model.named_parameters()
        if not rule.layers or types[id(parameter)] in rule.layers
    }
    found = [(name, parameter) for name, parameter in of_type.items() if _means(rule, name, parameter)]
    if not found:
        where = f"the model's {' and '.join(rule.layers)} layers" if rule.layers else "the model"
        names = dict.fromkeys(name.rpartition(".")[2] for name in of_type)
        if rule.parameters in names:
            raise ComponentError(
                f"{section}: {rule.init} draws matrices, and {rule.parameters!r} is a vector"
            )
        nearest = did_you_mean(rule.parameters, names)
        raise ComponentError(f"{section}: no parameter {rule.parameters!r} to draw in {where}{nearest}")
    return found


def _means(rule: InitRule, name: str, parameter: nn.Parameter) -> bool:
    if not rule.layers and rule.init in NEEDS_MATRIX and parameter.ndim < 2:
        return False
    return fnmatchcase(name.rpartition(".")[2], rule.parameters) or fnmatchcase(name, rule.parameters)
