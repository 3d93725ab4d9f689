"""The state that user code keeps outside of weights and buffers: found, saved and restored.

Three kinds of it are saved: generators of random numbers, objects with `state_dict` and `load_state_dict`,
and plain values such as a counter, if they are wanted.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchconsole.engine.components.generators import (
    GENERATORS,
    generator_state,
    global_generators,
    kind_of,
    new_generator,
    restore_generator,
)
from torchconsole.engine.components.object_walk import (
    COLLECTIONS,
    MODULE_INTERNALS,
    OPTIMIZER_INTERNALS,
    Member,
    Variable,
    assign,
    is_own,
    members,
    walk,
)
from torchconsole.engine.components.plain_state import decode, encode

log = logging.getLogger(__name__)

Roots = Mapping[str, object]
Wanted = Callable[[Member], bool]

CHANGEABLE = (nn.Module, Optimizer, FunctionType, type, dict, list, deque)


class Piece(NamedTuple):
    """One piece of state, and the path of the object that holds it."""

    kind: Literal["generator", "object", "value"]
    member: Member
    holder: str


def nothing(member: Member) -> bool:
    """Want no plain values."""
    return False


def pieces(roots: Roots, wanted: Wanted, most_items: int = sys.maxsize) -> Iterator[Piece]:
    """Yield the state below `roots`, each piece once; plain values only if they are `wanted`.

    Of a longer collection only `most_items` are looked at.

    Left out are the weights and the buffers that a state dict of a root module has, and collections of them,
    such as that of a recurrent layer; the state of a root optimizer; the generators of the process; and what
    belongs to an object with a state dict of its own.
    """
    covered, seen = _covered(roots), global_generators()
    inside: tuple[str, ...] = ()
    """Beginnings of the paths in objects that save their state themselves."""
    for holder in holders(roots, most_items):
        saves_itself = f"{holder.path}.".startswith(inside)
        for member in members(holder, most_items):
            value = member.value
            if isinstance(value, GENERATORS):
                if id(value) not in seen:
                    seen.add(id(value))
                    yield Piece("generator", member, holder.path)
            elif id(value) in covered or _is_internal(member):
                continue
            elif saves_itself and not isinstance(value, nn.Parameter):
                # The state dict of an optimizer does not have the weights that it trains.
                continue
            elif _has_state_dict(value):
                inside += (f"{member.path}.", f"{member.path}[")
                if id(value) not in seen:
                    seen.add(id(value))
                    yield Piece("object", member, holder.path)
            elif _is_changeable(member.owner) and wanted(member) and not _holds(value, covered, most_items):
                yield Piece("value", member, holder.path)


def state_of(piece: Piece) -> Any:
    """Return a piece's state as a checkpoint may hold it.

    Raises TypeError (NotPlainError) or NotImplementedError if it has none, and what user code raises.
    """
    value = piece.member.value
    if piece.kind == "generator":
        return generator_state(value)
    return encode(value.state_dict() if piece.kind == "object" else value)


def save(roots: Roots, wanted: Wanted = nothing, most_items: int = sys.maxsize) -> list[dict[str, Any]]:
    """Return the state below `roots` for a checkpoint, without what cannot be saved."""
    entries = []
    for piece in pieces(roots, wanted, most_items):
        try:
            state = state_of(piece)
        except Exception as error:  # noqa: BLE001 - user code may raise anything
            # The dry run has told about it.
            log.debug("%s cannot be saved: %s", piece.member.path, error)
            continue
        kind, member = piece.kind, piece.member
        entry = {"kind": kind, "path": member.path, "holder": piece.holder, "state": state}
        if not isinstance(member.key, Variable):
            entry["key"] = member.key if isinstance(member.key, str | int) else None
        if kind == "generator":
            entry["generator"] = kind_of(member.value)
        entries.append(entry)
    return entries


def load(
    roots: Roots, entries: list[dict[str, Any]], device: torch.device, most_items: int = sys.maxsize
) -> list[str]:
    """Restore what `save` returned; return the paths of what could not be restored."""
    missing, covered = [], _covered(roots)
    for kind in ("object", "value", "generator"):
        # Found anew: what was restored may hold what comes next.
        by_path = {holder.path: holder for holder in holders(roots, most_items)}
        for entry in entries:
            if entry["kind"] != kind:
                continue
            try:
                is_restored = _restore(by_path.get(entry["holder"]), entry, device, covered)
            except Exception:  # noqa: BLE001 - user code may raise anything
                is_restored = False
            if not is_restored:
                missing.append(entry["path"])
    return missing


def holders(roots: Roots, most_items: int = sys.maxsize) -> Iterator[Member]:
    """Walk through what may hold state: not through the state of a root optimizer, nor global generators."""
    known = global_generators()
    for root in roots.values():
        if isinstance(root, Optimizer):
            known |= {id(root.param_groups), id(root.state)}
    return walk(roots, known, most_items=most_items)


def _restore(holder: Member | None, entry: dict[str, Any], device: torch.device, covered: set[int]) -> bool:
    if holder is None:
        return False
    path, state = entry["path"], entry["state"]
    found = next((member for member in members(holder) if member.path == path), None)
    if entry["kind"] == "object":
        if found is None or not _has_state_dict(found.value):
            return False
        found.value.load_state_dict(decode(state, device))
        return True
    if entry["kind"] == "generator":
        generator = found.value if found is not None else None
        if not isinstance(generator, GENERATORS):
            # It was made by the first forward pass, which the dry run has undone.
            generator = new_generator(entry["generator"], device)
            _set(holder, found, entry.get("key"), generator)
        restore_generator(generator, state)
        return True
    # Checkpoints of the first versions have copies of weights here.
    if found is None or not _holds(found.value, covered):
        _set(holder, found, entry.get("key"), decode(state, device))
    return True


def _set(holder: Member, found: Member | None, key: Any, value: Any) -> None:
    """Set a plain value, in place where the present one can take it. Raises TypeError."""
    now = None if found is None else found.value
    value = _in_place(now, value)
    if found is not None and value is not now:
        assign(found.owner, found.key, value)
    elif found is None and key is not None:
        assign(holder.value, key, value)
    elif found is None:
        raise TypeError("nothing holds it")


def _in_place(now: Any, value: Any) -> Any:
    """Give the present object this value, since others may hold it; return it, or the value if it cannot."""
    if isinstance(now, Tensor) and isinstance(value, Tensor) and now.shape == value.shape:
        with torch.no_grad():
            now.copy_(value)
    elif isinstance(now, np.ndarray) and isinstance(value, np.ndarray) and now.shape == value.shape:
        np.copyto(now, value)
    elif isinstance(now, COLLECTIONS) and type(now) is type(value):
        _refill(now, value)
    else:
        return value
    return now


def _refill(collection: Any, items: Any) -> None:
    if isinstance(collection, set):
        filled = items
    elif isinstance(collection, dict):
        filled = {key: _in_place(collection.get(key), item) for key, item in items.items()}
    else:
        present = [*collection, *[None] * len(items)]
        filled = [_in_place(now, item) for now, item in zip(present, items, strict=False)]
    collection.clear()
    if isinstance(collection, set | dict):
        collection.update(filled)
    else:
        collection.extend(filled)


def _holds(value: Any, covered: set[int], most_items: int = sys.maxsize) -> bool:
    """Whether this is a collection with one of these objects in it, at any depth."""
    if not isinstance(value, (*COLLECTIONS, tuple, frozenset)):
        return False
    return any(id(member.value) in covered for member in walk({"": value}, most_items=most_items))


def _covered(roots: Roots) -> set[int]:
    """Return the ids of the tensors and layers that a checkpoint has as the state dict of a root.

    Of the loss only its layers: no checkpoint has its buffers.
    """
    found: set[int] = set()
    for path, root in roots.items():
        if isinstance(root, nn.Module):
            found |= {id(module) for module in root.modules()}
            if not path.startswith("loss"):
                found |= {id(tensor) for tensor in root.state_dict(keep_vars=True).values()}
        elif isinstance(root, Optimizer):
            found |= {id(root.param_groups), id(root.state)}
    return found


def _is_internal(member: Member) -> bool:
    if isinstance(member.owner, Optimizer):
        return member.key in OPTIMIZER_INTERNALS or type(member.owner).__module__.startswith("torch.")
    return isinstance(member.owner, nn.Module) and member.key in MODULE_INTERNALS


def _is_changeable(owner: object) -> bool:
    return isinstance(owner, CHANGEABLE) or is_own(owner)


def _has_state_dict(value: object) -> bool:
    kind = type(value)
    if isinstance(value, type | Tensor) or kind.__module__.startswith("torchconsole."):
        return False
    # Of the class: an object may answer to any name.
    return all(callable(getattr(kind, name, None)) for name in ("state_dict", "load_state_dict"))
