"""Turns the state of an object into what a checkpoint may hold, which is read with `weights_only=True`.

That is tensors, numbers, texts, lists, tuples and dicts. Arrays of NumPy and other collections become a dict
with a mark.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MARK = "torchconsole"
"""Key of a dict that stands for something else."""

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
KEYS = (bool, int, float, str, type(None))
COLLECTIONS: dict[str, Callable[[Any], Any]] = {
    "set": set, "frozenset": frozenset, "deque": deque, "Counter": lambda items: Counter(dict(items)),
    "OrderedDict": OrderedDict, "dict": dict,
}  # fmt: skip
FACTORIES: dict[str, type] = {kind.__name__: kind for kind in (int, float, list, dict, set, str, bool)}


class NotPlainError(TypeError):
    """A value that a checkpoint cannot hold."""


def encode(value: Any) -> Any:
    """Return a value as a checkpoint may hold it; tensors and arrays are not copied.

    Raises NotPlainError, also for tensors that are part of a graph.
    """
    try:
        return _encode(value)
    except RecursionError:
        raise NotPlainError("it holds itself") from None


def decode(value: Any, device: torch.device | str = "cpu") -> Any:
    """Return what `encode` was given; tensors that were on a GPU are moved to `device`."""
    if isinstance(value, list | tuple) and type(value) is not torch.Size:
        return type(value)(decode(item, device) for item in value)
    if not isinstance(value, dict):
        return value
    kind = value.get(MARK)
    if kind is None:
        return {key: decode(item, device) for key, item in value.items()}
    if kind == "array":
        array = np.frombuffer(value["bytes"].numpy().tobytes(), dtype=np.dtype(value["dtype"]))
        return array.reshape(value["shape"]).copy() if value["is_array"] else array[0]
    if kind == "tensor":
        return value["tensor"].to(device)
    items = decode(value["items"], device)
    if kind == "deque":
        return deque(items, value["maxlen"])
    if kind == "defaultdict":
        return defaultdict(FACTORIES.get(value["factory"]), items)
    return COLLECTIONS[kind](items)


def copied(value: Any) -> Any:
    """Return a copy of an encoded value, with memory of its own."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and type(value) is not torch.Size:
        return type(value)(copied(item) for item in value)
    return value


def is_same(one: Any, other: Any) -> bool:
    """Whether two encoded values are equal; nan equals nan."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        same_kind = one.shape == other.shape and one.dtype == other.dtype and one.layout == other.layout
        return same_kind and _has_same_elements(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other or (one != one and other != other))


def _has_same_elements(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal in every element; also where torch cannot tell."""
    try:
        if one.layout != torch.strided:
            one, other = one.to_dense(), other.to_dense()
        return torch.equal(one, other) or torch.equal(one.nan_to_num(), other.nan_to_num())
    except (RuntimeError, TypeError):
        return True


def _encode(value: Any) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, np.ndarray | np.generic):
        return _array(value)
    if kind in (list, tuple):
        return kind(_encode(item) for item in value)
    if kind is dict and all(type(key) in KEYS for key in value) and MARK not in value:
        return {key: _encode(item) for key, item in value.items()}
    if kind is deque:
        return {MARK: "deque", "items": [_encode(item) for item in value], "maxlen": value.maxlen}
    if kind in (set, frozenset):
        return {MARK: kind.__name__, "items": [_encode(item) for item in value]}
    if kind in (dict, OrderedDict, Counter, defaultdict):
        items = [(_encode(key), _encode(item)) for key, item in value.items()]
        if kind is not defaultdict:
            return {MARK: kind.__name__, "items": items}
        factory = getattr(value.default_factory, "__name__", "")
        if value.default_factory is None or FACTORIES.get(factory) is value.default_factory:
            return {MARK: "defaultdict", "items": items, "factory": factory}
    raise NotPlainError(f"it holds an object of type {kind.__name__}")


def _tensor(tensor: Tensor) -> Any:
    if type(tensor) not in (Tensor, nn.Parameter, nn.Buffer) or tensor.grad_fn is not None:
        raise NotPlainError("it holds a tensor with its graph or of another class")
    plain = tensor.detach()
    return plain if plain.device.type == "cpu" else {MARK: "tensor", "tensor": plain}


def _array(array: Any) -> dict[str, Any]:
    if array.dtype.hasobject or array.dtype.names is not None:
        raise NotPlainError("it holds an array of objects")
    stored = np.frombuffer(np.ascontiguousarray(array).tobytes(), dtype=np.uint8).copy()
    return {
        MARK: "array",
        "bytes": torch.from_numpy(stored),
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "is_array": isinstance(array, np.ndarray),
    }
