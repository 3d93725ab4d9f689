"""Chooses a model's parameters by name: with the patterns of a preset, or as norms and biases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import did_you_mean


def select(key: str, patterns: Sequence[str], names: Iterable[str], kind: str = "parameter") -> list[str]:
    """The names that match any of the patterns, in their order; a module's name means all that is inside it.

    Raises ComponentError, beginning with `key` and calling the names `kind`, for a pattern that matches none.
    """
    listed = list(names)
    for pattern in patterns:
        if not any(_matches(pattern, name) for name in listed):
            raise ComponentError(
                f"{key}: {pattern!r} matches no {kind}{did_you_mean(pattern, _places(listed))}"
            )
    return [name for name in listed if any(_matches(pattern, name) for pattern in patterns)]


def norm_and_bias_names(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay and penalties usually spare: biases, and all of norm layers.

    Sources: Goodfellow et al. 2016, Deep Learning, section 7.1 (penalise weights, leave biases alone); He et
    al. 2019, Bag of Tricks for Image Classification, section 3.1 (no decay on biases and batch norm).
    """
    names = set()
    for prefix, module in model.named_modules(remove_duplicate=False):
        is_norm = "Norm" in type(module).__name__
        for name, _ in module.named_parameters(recurse=False):
            if is_norm or "bias" in name:
                names.add(f"{prefix}.{name}" if prefix else name)
    return names


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


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _places(names: Iterable[str]) -> list[str]:
    """The outermost modules, as patterns, each once."""
    return list(dict.fromkeys(f"{name.partition('.')[0]}.*" if "." in name else name for name in names))


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
