"""Shows how far objects have come that nothing can save: iterators, and objects of libraries.

A heuristic: two texts that differ mean that the object has changed in between.
"""

from __future__ import annotations

import operator
from types import GeneratorType
from typing import Any

import numpy as np
from torch import Tensor, nn

from torchconsole.engine.components.generators import GENERATORS
from torchconsole.engine.components.object_walk import COLLECTIONS, Member, is_own, members

UNWATCHED = frozenset({"_io", "_queue", "_thread", "asyncio", "logging", "queue", "threading", "weakref"})
"""Modules of the standard library whose objects may change without a meaning for the training."""

SEEN_OTHERWISE = (*GENERATORS, Tensor, np.ndarray, np.generic, nn.Module, type, tuple, frozenset)
"""What can be saved, or cannot change."""

MOST_CHARACTERS = 1000


def shown_state(member: Member) -> str | None:
    """Show the state of an object that cannot be saved; "" if it cannot be seen, None for other objects."""
    value = member.value
    package = type(value).__module__.partition(".")[0]
    if isinstance(value, COLLECTIONS):
        # Its plain values are saved, but not how many objects it has.
        inner = [each.value for each in members(member)]
        return str(len(inner)) if any(is_own(each) for each in inner) else None
    if is_own(value) or isinstance(value, SEEN_OTHERWISE):
        return None
    if hasattr(type(value), "__next__"):
        return None if package in UNWATCHED else _progress(value)
    return None if package in UNWATCHED | {"builtins", "torch", "torchconsole"} else _text(value)


def changes(before: dict[str, tuple[object, str]], after: dict[str, tuple[object, str]]) -> list[str]:
    """Describe the objects, by path, that have changed or may have."""
    found = []
    for path, (value, shown) in after.items():
        then, shown_then = before.get(path, (None, ""))
        if then is value and (shown != shown_then or not shown):
            found.append(f"{path} ({type(value).__name__})")
    return found


def _progress(iterator: Any) -> str:
    if isinstance(iterator, GeneratorType):
        return "at its end" if iterator.gi_frame is None else ""
    left = operator.length_hint(iterator, -1)
    if left >= 0:
        return str(left)
    text = _text(iterator)
    return "" if " object at 0x" in text else text


def _text(value: object) -> str:
    try:
        return repr(value)[:MOST_CHARACTERS]
    except Exception:  # noqa: BLE001 - user code may raise anything
        return "?"
