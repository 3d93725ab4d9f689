"""Selects a model's parameters by name patterns or by layer type, and freezes and unfreezes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import did_you_mean


def select(key: str, patterns: Sequence[str], names: Iterable[str], kind: str = "parameter") -> list[str]:
    """Return the names that match any of the patterns, in the order of `names`.

    A pattern that is the name of a module matches everything in that module. `key` (a key of the preset) and
    `kind` (what the names stand for) appear in messages. Raises ComponentError for a pattern without a match.
    """
    candidates = list(names)
    for pattern in patterns:
        if not any(_matches(pattern, name) for name in candidates):
            suggestion = did_you_mean(pattern, _top_level_patterns(candidates))
            raise ComponentError(f"{key}: {pattern!r} matches no {kind}{suggestion}")
    return [name for name in candidates if any(_matches(pattern, name) for pattern in patterns)]


def norm_and_bias_names(model: nn.Module) -> set[str]:
    """Return the names of biases and norm parameters, which weight decay and penalties usually exclude.

    Sources: Goodfellow et al. 2016, Deep Learning, section 7.1 (no penalty on biases); He et al. 2019, Bag of
    Tricks for Image Classification, section 3.1 (no decay on biases and batch norm).
    """
    names = set()
    for prefix, module in model.named_modules(remove_duplicate=False):
        is_norm = "Norm" in type(module).__name__
        for name, _ in module.named_parameters(recurse=False):
            if is_norm or "bias" in name:
                names.add(f"{prefix}.{name}" if prefix else name)
    return names


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Set `requires_grad = False` for the parameters whose names match, and return their names.

    Raises ComponentError for a pattern without a match, and if no parameter is left to train.
    """
    names = _set_requires_grad(model, patterns, False)
    if names and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ComponentError("model.freeze: every parameter is frozen; leave at least one to train")
    return names


def unfreeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Undo `freeze` with the same patterns, and return the names.

    Other parameters are not changed: a model may contain parameters that it never trains.
    """
    return _set_requires_grad(model, patterns, True)


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules with running statistics (batch and instance norm) inside fully frozen modules.

    Put them into eval mode while the rest trains. In training mode they would keep updating their running
    mean and variance and would normalize by each batch's statistics, so the frozen part would still change. A
    module is fully frozen if it has parameters and none of them is trained.
    """
    if all(parameter.requires_grad for parameter in model.parameters()):
        return []
    frozen = [module for module in model.modules() if _is_frozen(module)]
    inside = {id(inner): inner for module in frozen for inner in module.modules()}
    return [module for module in inside.values() if _has_running_stats(module)]


def enter_train_mode(model: nn.Module, config: ModelConfig, epoch: int, frozen: Collection[str] = ()) -> None:
    """Set training mode for an epoch, counted from 0; unfreeze first if `unfreeze_at_epoch` is reached.

    Before that epoch, freeze: a run that was rolled back may have been beyond it.

    The parameters whose names are in `frozen` are frozen in any case. Frozen layers stay in eval mode, so
    that their running statistics do not change.
    """
    if config.unfreeze_at_epoch is not None:
        change = unfreeze if epoch >= config.unfreeze_at_epoch else freeze
        change(model, config.freeze)
    if frozen:
        for name, parameter in model.named_parameters():
            if name in frozen:
                parameter.requires_grad_(False)
    model.train()
    for module in frozen_modules(model):
        module.eval()


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _top_level_patterns(names: Iterable[str]) -> list[str]:
    """Return one pattern for each top-level module or parameter."""
    return list(dict.fromkeys(f"{name.partition('.')[0]}.*" if "." in name else name for name in names))


def _set_requires_grad(model: nn.Module, patterns: Sequence[str], requires_grad: bool) -> list[str]:
    parameters = dict(model.named_parameters())
    names = select("model.freeze", patterns, parameters)
    for name in names:
        parameters[name].requires_grad_(requires_grad)
    return names


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def _has_running_stats(module: nn.Module) -> bool:
    return getattr(module, "running_mean", None) is not None
