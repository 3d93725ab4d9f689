"""Initializes parameters with functions of torch.nn.init, by rules on layer types and parameter names.

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
from torchconsole.engine.components.torch_compat import absent_parameters
from torchconsole.engine.config.schema import InitRule
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import did_you_mean

MATRIX_ONLY = frozenset(
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
"""Functions that need fan-in and fan-out, or rows and columns, and therefore do not work on vectors."""


def initialize(model: nn.Module, rules: Sequence[InitRule], keep: Collection[str] = ()) -> None:
    """Apply the rules in order; the parameters named in `keep` are not changed.

    A rule without `layers` applies to all layers, but skips vectors (such as the weights of norm layers) if
    its function needs a matrix. Layers that were built without the parameter (bias = false) are skipped: a
    rule for biases does nothing in a model without any. Raises ComponentError for an unknown function or
    layer type, a rule without matching parameters, and a function that rejects a parameter.
    """
    for number, rule in enumerate(rules):
        section = f"model.init.{number}"
        function = _function(section, rule.init)
        for name, parameter in _targets(section, model, rule):
            if name not in keep:
                call(section, function, {"tensor": parameter}, rule.args)


def init_functions() -> dict[str, Callable[..., Any]]:
    """Return the functions that a rule can name: those of torch.nn.init that fill a tensor."""
    found = inspect.getmembers(init, inspect.isfunction)
    return {name: function for name, function in found if name.endswith("_") and name[0] != "_"}


def _function(section: str, name: str) -> Callable[..., Any]:
    known = init_functions()
    if name not in known:
        raise ComponentError(
            f"{section}.init: torch.nn.init has no function {name!r}{did_you_mean(name, known)}"
        )
    return known[name]


def _targets(section: str, model: nn.Module, rule: InitRule) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters that a rule matches, with their full names; tied parameters appear once."""
    types = {id(p): type(m).__name__ for m in model.modules() for p in m.parameters(recurse=False)}
    for layer in rule.layers:
        if layer not in types.values() and not hasattr(nn, layer):
            nearest = did_you_mean(layer, dict.fromkeys(types.values()))
            raise ComponentError(f"{section}.layers: there is no layer type {layer!r}{nearest}")
    of_type = {
        name: parameter
        for name, parameter in model.named_parameters()
        if not rule.layers or types[id(parameter)] in rule.layers
    }
    found = [(name, parameter) for name, parameter in of_type.items() if _rule_matches(rule, name, parameter)]
    if not found and not _matches_absent(model, rule):
        where = f"in the model's {' and '.join(rule.layers)} layers" if rule.layers else "in the model"
        names = dict.fromkeys(name.rpartition(".")[2] for name in of_type)
        if rule.parameters in names:
            raise ComponentError(
                f"{section}: {rule.init} needs a matrix, but {rule.parameters!r} is a vector; "
                "use another function, such as normal_"
            )
        nearest = did_you_mean(rule.parameters, names)
        raise ComponentError(f"{section}: found no parameter {rule.parameters!r} {where}{nearest}")
    return found


def _matches_absent(model: nn.Module, rule: InitRule) -> bool:
    """Whether the rule matches a parameter that a layer was built without."""
    return any(
        _name_matches(rule, f"{prefix}.{name}" if prefix else name)
        for prefix, module in model.named_modules()
        if not rule.layers or type(module).__name__ in rule.layers
        for name in absent_parameters(module)
    )


def _rule_matches(rule: InitRule, name: str, parameter: nn.Parameter) -> bool:
    if not rule.layers and rule.init in MATRIX_ONLY and parameter.ndim < 2:
        return False
    return _name_matches(rule, name)


def _name_matches(rule: InitRule, name: str) -> bool:
    return fnmatchcase(name.rpartition(".")[2], rule.parameters) or fnmatchcase(name, rule.parameters)
