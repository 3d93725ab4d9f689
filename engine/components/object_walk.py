"""Walks through the objects of user code: what a module, an object or a function holds, and what that holds.

The dry run undoes changes in what is found, checkpoints save the generators and counters in it, and data
loader workers reseed the generators.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache, partial
from itertools import islice
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.quasirandom import SobolEngine
from torch.utils.data import DataLoader, Dataset, Sampler

MODULE_INTERNALS = frozenset(vars(nn.Module()))
OPTIMIZER_INTERNALS = frozenset({"state", "param_groups", "defaults"})
SCALARS = (bool, int, float, complex, str, bytes, type(None))
COLLECTIONS = (list, set, dict, deque)
TYPES_OF_STATE = (SimpleNamespace, SobolEngine, LRScheduler, Dataset, DataLoader, Sampler)
"""Types of libraries whose objects are looked into like those of the user."""

LIBRARIES = frozenset({*sys.stdlib_module_names, "torch", "numpy", "torchconsole"} - {"__main__"})
"""Packages whose objects, such as loggers and locks, are left as they are."""

INSTALLED = ("site-packages", "dist-packages")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
SIMPLE_KEYS = (str, int, float, bool, type(None))

MOST_SHARED_BYTES = 2**20
"""Size of a module's variable above which it counts as data, not as state."""


class Member(NamedTuple):
    """A value, and where it was found."""

    path: str
    """For people: `model.noise.rng`, or `own.py:RNG` for a variable of a module."""
    value: Any
    owner: Any = None
    """The object that holds it; None for a root of the walk."""
    key: Any = None
    """Name of the attribute, key of the dict or index of the list; for a function a `Variable`."""


class Variable(NamedTuple):
    """A variable that a function uses."""

    name: str
    is_global: bool


def walk(
    roots: Mapping[str, object],
    known: set[int] | None = None,
    *,
    most_items: int = sys.maxsize,
    most: int = sys.maxsize,
) -> Iterator[Member]:
    """Yield `roots` and what they hold, each object once and only what can change, the nearest first.

    Objects with an id in `known` are left out; this adds to `known`. Of a longer collection only `most_items`
    are looked at, and of all objects `most`.
    """
    known = set() if known is None else known
    waiting = deque(Member(path, value) for path, value in roots.items())
    found = 0
    while waiting and found < most:
        member = waiting.popleft()
        value = member.value
        if isinstance(value, SCALARS) or id(value) in known:
            continue
        known.add(id(value))
        found += 1
        yield member
        waiting.extend(inner for inner in members(member, most_items) if not isinstance(inner.value, SCALARS))


def members(member: Member, most_items: int = sys.maxsize) -> list[Member]:
    """Return what an object holds directly, numbers and texts included; nothing if that cannot be seen."""
    try:
        return list(_members(member, most_items))
    except Exception:  # noqa: BLE001 - user code may raise anything, in a dict of its own for example
        return []


def _members(member: Member, most_items: int) -> Iterator[Member]:
    path, value = member.path, member.value
    if isinstance(value, nn.Module):
        yield from _of_module(path, value)
    elif isinstance(value, Tensor | np.ndarray):
        return
    elif isinstance(value, dict):
        for number, (key, item) in enumerate(islice(value.items(), most_items)):
            shown = repr(key) if isinstance(key, SIMPLE_KEYS) else f"#{number}"
            yield Member(f"{path}[{shown}]", item, value, key)
    elif isinstance(value, list | tuple | deque | set | frozenset):
        for number, item in enumerate(islice(value, most_items)):
            yield Member(f"{path}[{number}]", item, value, number)
    elif isinstance(value, Optimizer):
        for name, item in vars(value).items():
            if name != "defaults":
                yield Member(f"{path}.{name}", item, value, name)
    elif isinstance(value, FunctionType):
        yield from _of_function(path, value)
    elif isinstance(value, type):
        yield from _of_class(value)
    elif isinstance(value, MethodType):
        for name in ("__self__", "__func__"):
            yield Member(f"{path}.{name}", getattr(value, name), value, name)
    elif isinstance(value, BuiltinFunctionType):
        yield Member(f"{path}.__self__", value.__self__, value, "__self__")
    elif isinstance(value, partial):
        for name in ("func", "args", "keywords"):
            yield Member(f"{path}.{name}", getattr(value, name), value, name)
    if is_own(value):
        for name, item in attributes_of(value).items():
            yield Member(f"{path}.{name}", item, value, name)
    if is_user_module(type(value).__module__):
        yield Member(_path_of(type(value)), type(value))


def attributes_of(value: object) -> dict[str, Any]:
    """Return an object's attributes, those in `__slots__` included."""
    found = {} if not hasattr(value, "__dict__") else dict(vars(value))
    kind: Any = type(value)
    for name in _slots(kind):
        if hasattr(value, name):
            found[name] = getattr(value, name)
    if isinstance(value, LRScheduler):
        found.pop("optimizer", None)
    return found


def is_own(value: object) -> bool:
    """Whether this is an object of a class from user code that has attributes."""
    kind: Any = type(value)
    if kind.__module__.partition(".")[0] in LIBRARIES and not isinstance(value, TYPES_OF_STATE):
        return False
    if not hasattr(value, "__dict__") and not _slots(kind):
        return False
    return not isinstance(value, type | Enum | ModuleType | nn.Module | Optimizer | Tensor)


@cache
def is_user_module(name: str) -> bool:
    """Whether a module is a file of the user's: neither of a library nor installed."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if name.partition(".")[0] in LIBRARIES or file is None:
        return False
    return not any(part in INSTALLED for part in Path(file).parts)


def assign(owner: Any, key: Any, value: Any) -> None:
    """Set what `members` found. Raises TypeError for an owner that cannot be changed."""
    if isinstance(owner, nn.Module) and key in owner._buffers:
        owner._buffers[key] = value
    elif isinstance(owner, nn.Module):
        vars(owner)[key] = value
    elif isinstance(owner, FunctionType) and key.is_global:
        owner.__globals__[key.name] = value
    elif isinstance(owner, FunctionType):
        cells = dict(zip(owner.__code__.co_freevars, owner.__closure__ or (), strict=True))
        cells[key.name].cell_contents = value
    elif isinstance(owner, dict | list | deque):
        owner[key] = value
    elif isinstance(owner, type):
        setattr(owner, key, value)
    elif is_own(owner) or isinstance(owner, Optimizer):
        object.__setattr__(owner, key, value)
    else:
        raise TypeError(f"an object of type {type(owner).__name__} cannot be changed")


def _of_module(path: str, module: nn.Module) -> Iterator[Member]:
    for held in (module._parameters, module._buffers, module._modules):
        for name, item in held.items():
            yield Member(f"{path}.{name}", item, module, name)
    for name, item in vars(module).items():
        if name not in MODULE_INTERNALS:
            yield Member(f"{path}.{name}", item, module, name)
    for hooks in HOOKS:
        for number, hook in enumerate(getattr(module, hooks, {}).values()):
            yield Member(f"{path}.{hooks}[{number}]", hook)


def _of_function(path: str, function: FunctionType) -> Iterator[Member]:
    """Yield what a function of the user's keeps from call to call."""
    if not is_user_module(function.__module__):
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield Member(f"{path}:{name}", cell.cell_contents, function, Variable(name, is_global=False))
        except ValueError:  # an empty cell
            continue
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield Member(f"{path}:default", default)
    yield from [Member(f"{path}.{name}", item, vars(function), name) for name, item in vars(function).items()]
    file = Path(function.__code__.co_filename).name
    for name in sorted(_names(function.__code__) & function.__globals__.keys()):
        value = function.__globals__[name]
        if _may_be_state(value):
            yield Member(f"{file}:{name}", value, function, Variable(name, is_global=True))


def _of_class(kind: type) -> Iterator[Member]:
    """Yield the variables of a class of the user's, and what its methods use."""
    for base in kind.__mro__:
        if not is_user_module(base.__module__):
            continue
        for name, item in list(vars(base).items()):
            function = getattr(item, "__func__", getattr(item, "fget", item))
            if isinstance(function, FunctionType):
                yield Member(f"{_path_of(base)}.{name}", function)
            elif not name.startswith("__") and _may_be_state(item):
                yield Member(f"{_path_of(base)}.{name}", item, base, name)


def _path_of(kind: type) -> str:
    """Return a path such as `own.py:Net`."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or kind.__module__
    return f"{Path(file).name}:{kind.__qualname__}"


def _may_be_state(value: object) -> bool:
    if isinstance(value, Tensor | np.ndarray):
        return value.nbytes <= MOST_SHARED_BYTES
    return not isinstance(
        value,
        ModuleType | property | classmethod | staticmethod | MemberDescriptorType | GetSetDescriptorType,
    )


def _names(code: CodeType) -> set[str]:
    """Return the names that a function's code uses, and those of the functions inside it."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


@cache
def _slots(kind: Any) -> tuple[str, ...]:
    """Return the names in `__slots__` of a class, as `getattr` takes them."""
    names: list[str] = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            names.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))
