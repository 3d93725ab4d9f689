"""Finds what a program trains, without its help: models, the names of optimizers, the number of epochs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from types import FrameType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from torchconsole.engine.components.torch_compat import LossBase
from torchconsole.engine.library.epoch_loop import epochs_of_loop
from torchconsole.engine.library.frames import variables_of
from torchconsole.engine.protocol.info import LayerInfo, ModelSummary

EPOCHS_NAMES = {
    "epochs", "num_epochs", "n_epochs", "nepochs", "nb_epochs", "max_epochs", "total_epochs", "train_epochs",
    "num_train_epochs", "number_of_epochs", "epoch_count", "n_epoch", "num_epoch", "nb_epoch", "max_epoch",
    "total_epoch",
}  # fmt: skip
"""Names, in any case, of variables and settings that hold the number of epochs."""

FRAMEWORKS = ("lightning.", "lightning_fabric.", "pytorch_lightning.", "transformers.", "accelerate.")
"""Begin the names of modules that call a program's functions."""

MOST_EPOCHS = 100_000

MOST_SETTINGS = 500
"""Most entries of a dict or an object that is looked into."""


def find_models(optimizers: list[Optimizer]) -> dict[str, nn.Module]:
    """Return the outermost modules with parameters that these optimizers change, by name.

    Without optimizers: all outermost modules with trainable parameters. Looks at every object of the program,
    which takes some milliseconds: call this once, or when something is saved.
    """
    trained = {
        id(parameter)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    modules = [found for found in gc.get_objects() if _is_module(found)]
    inner = {id(child) for module in modules for child in module.children()}
    roots = [
        module
        for module in modules
        if id(module) not in inner
        and any(id(p) in trained or not (trained or not p.requires_grad) for p in module.parameters())
    ]
    return _named(roots, nn.Module)


def _is_module(found: object) -> bool:
    """Whether this is a module; asks its type, because `isinstance` runs code of proxies and lazy objects."""
    return issubclass(type(found), nn.Module) and not issubclass(type(found), LossBase)


def name_optimizers(optimizers: list[Optimizer]) -> dict[str, Optimizer]:
    """Return the optimizers by the names of the variables that hold them, else of their classes.

    A variable may also be a key of a dict, or an attribute of an object.
    """
    return _named(optimizers, Optimizer)


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer of torch in the wrapper that Accelerate or Lightning gives a program."""
    inner = getattr(optimizer, "optimizer", None)
    return inner if isinstance(inner, Optimizer) else optimizer


def _named(objects: list[Any], kind: type) -> dict[str, Any]:
    names: dict[int, str] = {}
    scopes = list(_scopes())
    inner = (_settings(value) for scope in scopes for value in list(scope.values()))
    for scope in (*scopes, *inner):
        for name, value in list(scope.items()):
            if isinstance(name, str) and issubclass(type(value), kind) and not name.startswith("_"):
                names.setdefault(id(unwrapped(value) if isinstance(value, Optimizer) else value), name)
    result: dict[str, Any] = {}
    for found in objects:
        name = names.get(id(found), type(found).__name__)
        number = 2
        unique = name
        while unique in result:
            unique, number = f"{name}_{number}", number + 1
        result[unique] = found
    return result


def find_epochs(epoch: int) -> int | None:
    """Return how many epochs the program trains; it is in its pass number `epoch` over the data, from 1.

    If its loop over epochs does not tell, a variable or a setting in one is a guess; the innermost function
    counts first. It is none if the program trains longer, as in the second fold of a cross-validation.
    """
    if (found := epochs_of_loop(_frames(), epoch)) is not None:
        return found
    for scope in _scopes():
        for name, value in list(scope.items()):
            if (epochs := _epochs_in(name, value)) is not None:
                return epochs if epoch <= epochs else None
    return None


def _epochs_in(name: str, value: object) -> int | None:
    if name.lower() in EPOCHS_NAMES:
        return value if type(value) is int and 0 < value <= MOST_EPOCHS else None
    for key, setting in list(_settings(value).items()):
        if isinstance(key, str) and key.lower() in EPOCHS_NAMES and type(setting) is int:
            return setting if 0 < setting <= MOST_EPOCHS else None
    return None


def _settings(value: object) -> dict[Any, Any]:
    """Return what a dict or an object holds; nothing of modules, classes and large ones."""
    if isinstance(value, type | ModuleType):
        return {}
    held = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    return held if isinstance(held, dict) and len(held) <= MOST_SETTINGS else {}


def _scopes() -> Iterator[dict[str, Any]]:
    """Yield the variables of the program's running functions, the innermost first, then its globals.

    Those of a framework that calls these functions come last: it names every optimizer `optimizer`.
    """
    later = []
    of_frameworks = []
    for frame in _frames():
        if frame.f_globals.get("__name__", "").startswith(FRAMEWORKS):
            of_frameworks.append(variables_of(frame))
            continue
        if (variables := variables_of(frame)) is not frame.f_globals:
            yield variables
        later.append(frame.f_globals)
    yield from (*later, *of_frameworks)


def _frames() -> Iterator[FrameType]:
    """Yield the frames of the program's running functions, the innermost first."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("torchconsole.", "torch.", "runpy", "importlib")):
            yield frame
        frame = frame.f_back


def layer_table(models: dict[str, nn.Module]) -> ModelSummary:
    """Return the layer tables of these models, one below the other; shapes and MACs are not known."""
    layers = []
    for name, model in models.items():
        for inner, module in model.named_modules():
            path = ".".join(filter(None, (name if len(models) > 1 or not inner else "", inner)))
            layers.append(
                LayerInfo(
                    name=path,
                    type=type(module).__name__,
                    depth=path.count("."),
                    params=_count(module.parameters()),
                    trainable=_count(p for p in module.parameters() if p.requires_grad),
                )
            )
    parameters = [p for model in models.values() for p in model.parameters()]
    return ModelSummary(
        layers=layers,
        params=_count(parameters),
        trainable=_count(p for p in parameters if p.requires_grad),
        macs_complete=False,
        input_shape=[],
    )


def _count(parameters: Iterable[nn.Parameter]) -> int:
    """Count the elements; parameters whose shape is not known yet have none."""
    return sum(parameter.numel() for parameter in parameters if not is_lazy(parameter))


def device_of(models: dict[str, nn.Module]) -> torch.device:
    """Return the device that holds the first parameter; the CPU if there is none."""
    for model in models.values():
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu")
