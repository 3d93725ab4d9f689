"""Undoes what trial steps do to modules, an optimizer, a scaler and the random numbers, to the last bit.

Copies of tensors on a GPU are kept in host memory, so that a trial step has the GPU's memory for itself.
"""

from __future__ import annotations

import copy
import logging
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from torchconsole.engine.text import error_summary
from torchconsole.engine.training.elements import without_overlap
from torchconsole.engine.training.randomness import random_state, restore_random_state

log = logging.getLogger(__name__)

Undo = Callable[[], object]

MODULE_INTERNALS = frozenset(vars(nn.Module()))
OPTIMIZER_INTERNALS = frozenset({"state", "param_groups", "defaults"})
SCALARS = (bool, int, float, complex, str, bytes, type(None))
COLLECTIONS = (list, set, dict, deque)
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
PLAIN = (*SCALARS, *COLLECTIONS, *GENERATORS, tuple, Tensor, np.ndarray)
"""Types of a component's attributes that are restored, such as a counter of its forward passes."""

LIBRARIES = frozenset({*sys.stdlib_module_names, "torch", "numpy", "torchconsole"} - {"__main__"})
"""Packages whose objects, such as loggers and locks, are left as they are."""


@contextmanager
def preserve(
    modules: Iterable[nn.Module], optimizer: Optimizer | None = None, scaler: GradScaler | None = None
) -> Iterator[None]:
    """Restore everything on exit: weights, buffers, modes, optimizer and scaler state, random numbers.

    Gradients are removed. Plain attributes of modules and of the optimizer are restored as well, with what
    is inside them. A module that built layers in its first forward pass keeps them, and its attributes: it
    would build them again. What cannot be restored is logged.
    """
    each = list(dict.fromkeys(module for root in modules for module in root.modules()))
    known = {id(module) for module in each}
    undo: list[Undo] = [_random_numbers()]
    # Weights first: attributes that lead to them need no second copy.
    undo += [_contents([*module._parameters.values(), *module._buffers.values()], known) for module in each]
    undo += [_module(module, known) for module in each]
    if optimizer is not None:
        undo.append(_optimizer(optimizer, known))
    if scaler is not None:
        undo.append(_scaler(scaler))
    try:
        yield
    finally:
        with torch.no_grad():
            for restore in reversed(undo):
                _try(restore)


def _random_numbers() -> Undo:
    state = random_state()
    return lambda: restore_random_state(state)


def _scaler(scaler: GradScaler) -> Undo:
    state = scaler.state_dict()
    return lambda: scaler.load_state_dict(state)


def _module(module: nn.Module, known: set[int]) -> Undo:
    """Save a module's modes, buffers and attributes, but not the elements of its weights and buffers."""
    parameters, buffers, layers = set(module._parameters), dict(module._buffers), set(module._modules)
    was_training, persistent = module.training, set(module._non_persistent_buffers_set)
    restore_attributes = _attributes(module, MODULE_INTERNALS, known)

    def restore() -> None:
        for parameter in module._parameters.values():
            if parameter is not None:
                parameter.grad = None
        module.training = was_training
        has_new_layers = set(module._parameters) - parameters or set(module._modules) - layers
        if not has_new_layers:
            module._buffers.clear()
            module._buffers.update(buffers)
            module._non_persistent_buffers_set = persistent
            restore_attributes()

    return restore


def _optimizer(optimizer: Optimizer, known: set[int]) -> Undo:
    held = _contents([optimizer.param_groups, optimizer.state], known)
    restore_attributes = _attributes(optimizer, OPTIMIZER_INTERNALS, known)
    # A user's optimizer may wrap another one.
    wrapped = [_optimizer(value, known) for value in vars(optimizer).values() if isinstance(value, Optimizer)]

    def restore() -> None:
        for undo in (held, restore_attributes, *wrapped):
            undo()

    return restore


def _attributes(owner: object, left_out: frozenset[str], known: set[int]) -> Undo:
    """Save an object's plain attributes, except those `left_out`."""
    names = set(vars(owner))
    before = {key: value for key, value in vars(owner).items() if key not in left_out and _is_plain(value)}
    inside = _contents(before.values(), known)

    def restore() -> None:
        now = vars(owner)
        for name in [name for name, value in now.items() if name not in names and _is_plain(value)]:
            del now[name]
        now.update(before)
        inside()

    return restore


def _contents(values: Iterable[Any], known: set[int]) -> Undo:
    """Save what can change inside `values`, and inside what they hold, except objects with an id in `known`.

    This adds to `known`. The objects stay the same ones: others may hold them too.
    """
    undo: list[Undo] = []
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, SCALARS) or id(value) in known:
            continue
        known.add(id(value))
        if (restore := _value(value, known)) is not None:
            undo.append(restore)
        waiting += [inner for inner in _held(value) if not isinstance(inner, SCALARS)]

    def restore_all() -> None:
        for restore in undo:
            _try(restore)

    return restore_all


def _held(value: Any) -> Iterable[Any]:
    """Return the objects inside a collection or a user's object."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, tuple | list | set | deque):
        return value
    return vars(value).values() if _is_own(value) else ()


def _value(value: Any, known: set[int]) -> Undo | None:
    """Save one object, but not what it holds; None if nothing in it can change."""
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, COLLECTIONS):
        return _collection(value)
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, GENERATORS):
        return _generator(value)
    if isinstance(value, nn.Module):
        return _unknown_module(value, known)
    return _collection(vars(value)) if _is_own(value) else None


def _unknown_module(root: nn.Module, known: set[int]) -> Undo:
    """Save a module in a list, which its owner does not know as a layer."""
    each = list(root.modules())
    known |= {id(module) for module in each}
    undo = [_contents([*root.parameters(), *root.buffers()], known)]
    undo += [_module(module, known) for module in each]

    def restore() -> None:
        for restore_one in undo:
            restore_one()

    return restore


def _collection(value: Any) -> Undo:
    """Save which objects a collection holds."""
    before = copy.copy(value)

    def restore() -> None:
        value.clear()
        if isinstance(value, set | dict):
            value.update(before)
        else:
            value.extend(before)

    return restore


def _generator(value: Any) -> Undo:
    """Save the state of a generator of random numbers."""
    if isinstance(value, np.random.Generator):
        bits, numbers = value.bit_generator, value.bit_generator.state
        return lambda: setattr(bits, "state", numbers)
    if isinstance(value, random.Random):
        state = value.getstate()
        return lambda: value.setstate(state)
    kept = value.get_state()
    return lambda: value.set_state(kept)


def _array(array: np.ndarray[Any, Any]) -> Undo:
    saved = array.copy()
    return lambda: np.copyto(array, saved) if array.flags.writeable else None


def _tensor(tensor: Tensor) -> Undo:
    if tensor.layout != torch.strided:
        # A detached one would get elements of its own.
        whole, saved = tensor, tensor.detach().clone()
        return lambda: whole.copy_(saved)
    view = without_overlap(tensor.detach())
    saved = view.to("cpu", copy=True) if view.device.type != "cpu" else view.clone()
    # The memory may be another one by then: `weight.data = ...`.
    return lambda: without_overlap(tensor.detach()).copy_(saved)


def _try(restore: Undo) -> None:
    """Undo one thing; if that fails, the others still have to be undone."""
    try:
        restore()
    except Exception as error:  # noqa: BLE001 - user objects may raise anything
        log.warning("a trial step has left a trace in the model or the optimizer: %s", error_summary(error))


def _is_own(value: object) -> bool:
    """Whether this is an object of a class from user code that has attributes."""
    kind = type(value)
    if kind.__module__.partition(".")[0] in LIBRARIES and kind is not SimpleNamespace:
        return False
    return hasattr(value, "__dict__") and not isinstance(value, type | Enum | nn.Module | Optimizer | Tensor)


def _is_plain(value: object) -> bool:
    return (isinstance(value, PLAIN) or _is_own(value)) and not isinstance(value, nn.Parameter)
