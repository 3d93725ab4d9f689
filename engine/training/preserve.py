"""Undoes what trial steps do to modules, an optimizer, a scaler and the random numbers, to the last bit.

Copies of tensors on a GPU are kept in host memory, so that a trial step has the GPU's memory for itself.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from torchconsole.engine.training.randomness import random_state, restore_random_state

Undo = Callable[[], object]

MODULE_INTERNALS = frozenset(vars(nn.Module()))
OPTIMIZER_INTERNALS = frozenset({"state", "param_groups", "defaults"})
PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, set, deque, Tensor, type(None))
"""Types of a component's attributes that are restored, such as a counter of its forward passes."""


@contextmanager
def preserve(
    modules: Iterable[nn.Module], optimizer: Optimizer | None = None, scaler: GradScaler | None = None
) -> Iterator[None]:
    """Restore everything on exit: weights, buffers, modes, optimizer and scaler state, random numbers.

    Gradients are removed. Plain attributes of modules and of the optimizer are restored as well. A module
    that built layers in its first forward pass keeps them, and its attributes: it would build them again.
    """
    undo: list[Undo] = [_random_numbers()]
    undo += [_module(module) for root in modules for module in root.modules()]
    if optimizer is not None:
        undo.append(_optimizer(optimizer))
    if scaler is not None:
        undo.append(_scaler(scaler))
    try:
        yield
    finally:
        with torch.no_grad():
            for restore in reversed(undo):
                restore()


def _random_numbers() -> Undo:
    state = random_state()
    return lambda: restore_random_state(state)


def _scaler(scaler: GradScaler) -> Undo:
    state = scaler.state_dict()
    return lambda: scaler.load_state_dict(state)


def _module(module: nn.Module) -> Undo:
    parameters, buffers, layers = dict(module._parameters), dict(module._buffers), set(module._modules)
    saved = [_tensor(tensor) for tensor in (*parameters.values(), *buffers.values()) if tensor is not None]
    was_training, persistent = module.training, set(module._non_persistent_buffers_set)
    restore_attributes = _attributes(module, MODULE_INTERNALS)

    def restore() -> None:
        for undo in saved:
            undo()
        for parameter in module._parameters.values():
            if parameter is not None:
                parameter.grad = None
        module.training = was_training
        has_new_layers = set(module._parameters) - set(parameters) or set(module._modules) - layers
        if not has_new_layers:
            module._buffers.clear()
            module._buffers.update(buffers)
            module._non_persistent_buffers_set = persistent
            restore_attributes()

    return restore


def _optimizer(optimizer: Optimizer) -> Undo:
    groups = [_dict(group) for group in optimizer.param_groups]
    state = dict(optimizer.state)
    inside = [_dict(values) for values in state.values()]
    restore_attributes = _attributes(optimizer, OPTIMIZER_INTERNALS)
    # A user's optimizer may wrap another one.
    wrapped = [_optimizer(value) for value in vars(optimizer).values() if isinstance(value, Optimizer)]

    def restore() -> None:
        optimizer.state.clear()
        optimizer.state.update(state)
        for undo in (*groups, *inside, restore_attributes, *wrapped):
            undo()

    return restore


def _attributes(owner: object, left_out: frozenset[str]) -> Undo:
    """Save an object's plain attributes, except those `left_out`."""
    before = vars(owner)
    undo = _dict({key: value for key, value in before.items() if key not in left_out and _is_plain(value)})
    names = set(before)

    def restore() -> None:
        now = vars(owner)
        for name in [name for name, value in now.items() if name not in names and _is_plain(value)]:
            del now[name]
        now.update(undo())

    return restore


def _dict(content: dict[Any, Any]) -> Callable[[], dict[Any, Any]]:
    """Save a dict with its values; undoing it restores and returns the same dict."""
    before = dict(content)
    inside = [_value(value) for value in content.values()]

    def restore() -> dict[Any, Any]:
        content.clear()
        content.update(before)
        for undo in inside:
            undo()
        return content

    return restore


def _value(value: Any) -> Undo:
    """Save what can change inside a value: the elements of a tensor or of a collection."""
    if isinstance(value, Tensor):
        return _tensor(value)
    if not isinstance(value, list | set | dict | deque):
        return lambda: None
    before = copy.copy(value)

    def restore() -> None:
        value.clear()
        if isinstance(value, set | dict):
            value.update(before)
        else:
            value.extend(before)

    return restore


def _tensor(tensor: Tensor) -> Undo:
    saved = tensor.detach().to("cpu", copy=True) if tensor.device.type != "cpu" else tensor.detach().clone()
    return lambda: tensor.detach().copy_(saved)


def _is_plain(value: object) -> bool:
    return isinstance(value, PLAIN) and not isinstance(value, nn.Parameter)
