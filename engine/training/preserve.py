"""Undoes what trial steps do to modules, an optimizer, a scaler and the random numbers, to the last bit.

Copies of tensors on a GPU are kept in host memory, so that a trial step has the GPU's memory for itself.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from torchconsole.engine.components.generators import GENERATORS, generator_state, restore_generator
from torchconsole.engine.components.object_walk import (
    COLLECTIONS,
    MODULE_INTERNALS,
    OPTIMIZER_INTERNALS,
    SCALARS,
    Member,
    assign,
    attributes_of,
    is_own,
    members,
    walk,
)
from torchconsole.engine.text import error_summary
from torchconsole.engine.training.elements import without_overlap
from torchconsole.engine.training.randomness import random_state, restore_random_state

log = logging.getLogger(__name__)

Undo = Callable[[], object]

PLAIN = (*SCALARS, *COLLECTIONS, *GENERATORS, tuple, Tensor, np.ndarray)
"""Types of a component's attributes that are restored, such as a counter of its forward passes."""


@contextmanager
def preserve(
    modules: Iterable[nn.Module],
    optimizer: Optimizer | None = None,
    scaler: GradScaler | None = None,
    others: Iterable[object] = (),
) -> Iterator[None]:
    """Restore everything on exit: weights, buffers, modes, optimizer and scaler state, random numbers.

    `others` are further objects, such as schedulers, whose state is restored.

    Gradients are removed. Plain attributes of modules and of the optimizer are restored as well, with what
    is inside them, and the variables that the user's functions and classes use. A module that built layers in
    its first forward pass keeps them, and its attributes: it would build them again. What cannot be restored
    is logged.
    """
    roots: dict[str, object] = {str(number): each for number, each in enumerate((*modules, *others))}
    if optimizer is not None:
        roots["optimizer"] = optimizer
    undo: list[Undo] = [_random_numbers()]
    for member in walk(roots):
        restore, is_replaced = _saved(member), _is_iterator(member.value)
        if restore is not None:
            # Those at the front are restored last: what holds an iterator brings the used one back.
            undo.insert(0 if is_replaced else len(undo), restore)
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


def _saved(member: Member) -> Undo | None:
    """Save one object, see `_undo`; None also if it cannot be copied."""
    try:
        return _undo(member)
    except Exception as error:
        if isinstance(member.value, Tensor | nn.Module | Optimizer):
            raise
        log.debug("%s cannot be copied: %s", member.path, error_summary(error))
        return None


def _undo(member: Member) -> Undo | None:
    """Save one object, but not what it holds; None if nothing in it can change.

    The objects stay the same ones: others may hold them too. Only iterators are replaced by copies.
    """
    value = member.value
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, nn.Module):
        return _module(value)
    if isinstance(value, Optimizer):
        return _attributes(value, OPTIMIZER_INTERNALS)
    if isinstance(value, FunctionType | type):
        return _variables(member)
    if _is_iterator(value):
        return _iterator(member)
    saved = [
        save(value)
        for kinds, save in ((GENERATORS, _generator), (COLLECTIONS, _collection))
        if isinstance(value, kinds)
    ]
    if is_own(value):
        saved.append(_object(value))
    undo = [restore for restore in saved if restore is not None]
    return (lambda: [restore() for restore in undo]) if undo else None


def _module(module: nn.Module) -> Undo:
    """Save a module's modes, buffers and attributes."""
    parameters, layers = set(module._parameters.keys()), set(module._modules.keys())
    buffers = dict(module._buffers.items())
    was_training, persistent = module.training, set(module._non_persistent_buffers_set)
    restore_attributes = _attributes(module, MODULE_INTERNALS)

    def restore() -> None:
        for parameter in module._parameters.values():
            if parameter is not None:
                parameter.grad = None
        module.training = was_training
        if isinstance(module, torch.jit.ScriptModule):
            return  # its members are fixed, and the values of its tensors are restored on their own
        has_new_layers = set(module._parameters) - parameters or set(module._modules) - layers
        if not has_new_layers:
            module._buffers.clear()
            module._buffers.update(buffers)
            module._non_persistent_buffers_set = persistent
            restore_attributes()

    return restore


def _attributes(owner: object, left_out: frozenset[str]) -> Undo:
    """Save an object's plain attributes, except those `left_out`."""
    names = set(vars(owner))
    before = {key: value for key, value in vars(owner).items() if key not in left_out and _is_plain(value)}

    def restore() -> None:
        now = vars(owner)
        for name in [name for name, value in now.items() if name not in names and _is_plain(value)]:
            del now[name]
        now.update(before)

    return restore


def _object(value: object) -> Undo:
    """Save which objects the attributes of a user's object are."""
    before = attributes_of(value)

    def restore() -> None:
        for name in attributes_of(value).keys() - before.keys():
            object.__delattr__(value, name)
        for name, item in before.items():
            object.__setattr__(value, name, item)

    return restore


def _variables(member: Member) -> Undo | None:
    """Save the variables that a function or a class of the user's keeps from call to call."""
    held = [inner for inner in members(member) if inner.owner is not None and _is_plain(inner.value)]
    if not held:
        return None

    def restore() -> None:
        now = {(id(inner.owner), inner.key): inner.value for inner in members(member)}
        for inner in held:
            if now.get((id(inner.owner), inner.key)) is not inner.value:
                assign(inner.owner, inner.key, inner.value)

    return restore


def _is_iterator(value: object) -> bool:
    return hasattr(type(value), "__next__") and not is_own(value)


def _iterator(member: Member) -> Undo | None:
    """Replace an iterator by a copy of what it was, if it can be copied."""
    try:
        before = copy.copy(member.value)
    except (TypeError, NotImplementedError, AttributeError):
        return None
    if before is member.value or member.owner is None:
        return None
    return lambda: assign(member.owner, member.key, before)


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


def _generator(value: Any) -> Undo | None:
    """Save the state of a generator of random numbers; None if it has none."""
    try:
        state = generator_state(value)
    except (TypeError, NotImplementedError):
        return None
    return lambda: restore_generator(value, state)


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


def _is_plain(value: object) -> bool:
    return (isinstance(value, PLAIN) or is_own(value)) and not isinstance(value, nn.Parameter)
