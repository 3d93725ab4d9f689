"""Finds tensors in a model's attributes that torch does not register, and how to register them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

MAX_DEPTH = 4
"""Levels of lists, dictionaries and other objects that are searched for layers."""

INTERNALS = frozenset(vars(nn.Module()))


@dataclass(frozen=True)
class Place:
    """Where an object is that torch does not register."""

    path: str
    """From the model on, such as `blocks[0].weight`."""
    tensor: Any
    owner: str
    """The class and the name of the registered module that holds it; empty for the model itself."""
    attribute: str
    """The attribute of that module."""
    containers: tuple[str, ...] = ()
    """The kinds of the lists and dictionaries in that attribute, from the outside."""
    plain: str = ""
    """The class of the object on the way that is neither a module nor a container, with its path."""
    in_plain: tuple[str, ...] = ()
    """The kinds of the lists and dictionaries inside of it."""
    in_function: bool = False
    """Whether a function holds it: its closure, or arguments that are filled in."""
    in_module: bool = False
    """Whether it belongs to a module that is not registered."""

    @property
    def prefix(self) -> str:
        """What `path` begins with before the attribute."""
        return f"{self.owner.partition('(')[2].removesuffix(')')}." if self.owner else ""

    @property
    def remedy(self) -> str:
        """How to have it registered, as a line of code or a sentence."""
        return f"in {self.owner}: {self._change}" if self.owner else self._change

    @property
    def _change(self) -> str:
        if self.in_function:
            what = "the tensor as self.weight = nn.Parameter(...)"
            if self.in_module:
                what = "the layer as self.layer = ..."
            return f"create {what} in __init__, and use that in forward instead of self.{self.attribute}"
        prefix = "Module" if self.in_module or self.plain else "Parameter"
        outer = f"use self.{self.attribute} = {_nested(self.containers, prefix)}" if self.containers else ""
        if self.plain:
            inner_prefix = "Module" if self.in_module else "Parameter"
            inside = _nested(self.in_plain, inner_prefix) if self.in_plain else ""
            inside = inside or ("" if self.in_module else "nn.Parameter(...)")
            steps = [f"make {self.plain} an nn.Module", f"use {inside} in it" if inside else "", outer]
            return " and ".join(step for step in steps if step)
        if outer:
            return outer
        brackets = "" if self.tensor.is_leaf else ", with all that computes the tensor inside the brackets"
        return f"use self.{self.attribute} = nn.Parameter(...){brackets}"


def _nested(containers: tuple[str, ...], prefix: str) -> str:
    """Return the containers of torch.nn for some of Python, each within the one before."""
    *outer, last = containers
    return " of ".join([*(f"nn.Module{kind}(...)" for kind in outer), f"nn.{prefix}{last}(...)"])


def hidden_tensors(model: nn.Module) -> Iterator[Place]:
    """Yield the tensors in attributes that are not registered."""
    registered = {id(module) for module in model.modules()}
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in INTERNALS:
                path = f"{prefix}.{name}" if prefix else name
                owner = f"{type(module).__name__} ({prefix})" if prefix else ""
                yield from _search(Place(path, value, owner, name), registered, seen, MAX_DEPTH)


def _search(place: Place, registered: set[int], seen: set[int], depth: int) -> Iterator[Place]:
    value, path = place.tensor, place.path
    if id(value) in seen or id(value) in registered or depth < 0:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield place
        return
    if isinstance(value, nn.Module):
        for name, parameter in value.named_parameters():
            yield replace(place, path=f"{path}.{name}", tensor=parameter, in_module=True)
        return
    for inner in _inside(place):
        yield from _search(inner, registered, seen, depth - 1)


def _inside(place: Place) -> Iterator[Place]:
    """Yield what an object holds."""
    value, path = place.tensor, place.path
    if isinstance(value, dict):
        for key, item in value.items():
            yield replace(_in(place, "Dict"), path=f"{path}[{key!r}]", tensor=item)
    elif isinstance(value, list | tuple | set):
        for number, item in enumerate(value):
            yield replace(_in(place, "List"), path=f"{path}[{number}]", tensor=item)
    elif isinstance(value, functools.partial):
        for key, item in value.keywords.items():
            yield replace(place, path=f"{path}.keywords[{key!r}]", tensor=item, in_function=True)
        for number, item in enumerate((value.func, *value.args)):
            yield replace(place, path=f"{path}.args[{number}]", tensor=item, in_function=True)
    elif isinstance(value, FunctionType):
        for name, item in _variables(value):
            yield replace(place, path=f"{path} ({name})", tensor=item, in_function=True)
    elif isinstance(value, MethodType):
        yield replace(place, tensor=value.__self__)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        where = path.removeprefix(place.prefix)
        plain = place.plain or f"{type(value).__name__} (self.{where})"
        for name, item in vars(value).items():
            yield replace(place, path=f"{path}.{name}", tensor=item, plain=plain)


def _in(place: Place, kind: str) -> Place:
    if place.plain:
        return replace(place, in_plain=(*place.in_plain, kind))
    return replace(place, containers=(*place.containers, kind))


def _variables(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the variables of the functions around this one that it uses."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not set yet
            continue
