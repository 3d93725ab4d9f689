"""Parameters that are not trained: chosen by name, and given free again."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from torchconsole.engine.components.parameter_names import select
from torchconsole.engine.errors import ComponentError


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Take the parameters whose names match out of training and return their names.

    Raises ComponentError for a pattern that matches none, and where nothing is left to train.
    """
    names = _train(model, patterns, False)
    if names and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ComponentError("model.freeze: every parameter is frozen, so there is nothing to train")
    return names


def unfreeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Train what `freeze` took out with the same patterns, and return the names.

    Other parameters stay as they are: a model may have some of its own that are never trained.
    """
    return _train(model, patterns, True)


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """The modules with running statistics (batch and instance norm) that lie in fully frozen modules.

    Put them into eval mode while the rest trains: in training mode they would go on adapting their running
    mean and variance, and normalise by each batch's own, so that the frozen part would change all the same.
    A module is fully frozen when it has parameters and none of them is trained.
    """
    if all(parameter.requires_grad for parameter in model.parameters()):
        return []
    frozen = [module for module in model.modules() if _is_frozen(module)]
    inside = {id(inner): inner for module in frozen for inner in module.modules()}
    return [module for module in inside.values() if _keeps_statistics(module)]


def _train(model: nn.Module, patterns: Sequence[str], trained: bool) -> list[str]:
    parameters = dict(model.named_parameters())
    names = select("model.freeze", patterns, parameters)
    for name in names:
        parameters[name].requires_grad_(trained)
    return names


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def _keeps_statistics(module: nn.Module) -> bool:
    return getattr(module, "running_mean", None) is not None
