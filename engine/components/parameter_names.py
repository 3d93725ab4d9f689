"""Chooses a model's parameters by name: with the patterns of a preset, or as norms and biases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from torchconsole.engine.config.suggestions import hint
from torchconsole.engine.errors import ComponentError


def select(key: str, patterns: Sequence[str], names: Iterable[str], kind: str = "parameter") -> list[str]:
    """The names that match any of the patterns, in their order; a module's name means all that is inside it.

    Raises ComponentError, beginning with `key` and calling the names `kind`, for a pattern that matches none.
    """
    listed = list(names)
    for pattern in patterns:
        if not any(_matches(pattern, name) for name in listed):
            raise ComponentError(f"{key}: {pattern!r} matches no {kind}{hint(pattern, _places(listed))}")
    return [name for name in listed if any(_matches(pattern, name) for pattern in patterns)]


def norms_and_biases(model: nn.Module) -> set[str]:
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


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _places(names: Iterable[str]) -> list[str]:
    """The outermost modules, as patterns, each once."""
    return list(dict.fromkeys(f"{name.partition('.')[0]}.*" if "." in name else name for name in names))
