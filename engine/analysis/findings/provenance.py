"""Where tensors come from: which function made their values, or which tensors hold the same values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

LAYERS = {"linear", "conv1d", "conv2d", "conv3d"}

ORIGINS = {
    *("softmax", "log_softmax", "sigmoid", "log_sigmoid", "hardsigmoid", "tanh"),
    *("relu", "relu6", "softplus", *LAYERS),
}
"""Functions that tell in which range their results can lie."""

SAME_VALUES = {
    *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous", "clone", "permute"),
    *("transpose", "movedim", "float", "double", "half", "bfloat16", "to", "type", "ravel", "view_as"),
    *("reshape_as", "alias", "cpu", "cuda", "__getitem__", "mT", "T", "narrow", "select"),
}
"""Functions whose result has values of their first argument, maybe in another shape or type."""

CLAMPS = {"clamp", "clip", "clamp_min", "clamp_max"}

PROBABILITIES = {"softmax", "sigmoid", "hardsigmoid"}

ONE_BY_ONE = {
    *SAME_VALUES,
    *("detach", "expand", "expand_as", "repeat", "long", "int", "type_as", "one_hot", "nan_to_num", "where"),
    *("add", "sub", "__rsub__", "rsub", "mul", "div", "__rdiv__", "true_divide", "neg", "pow", "square"),
    *("sqrt", "abs", "sign", "exp", "expm1", "log", "log1p", "log2", "log10", *CLAMPS),
}
"""Functions that compute each value of their result from one value of each argument."""


@dataclass
class Origins:
    """Which of ORIGINS made a tensor, also after changes of shape or type."""

    names: dict[int, str] = field(default_factory=dict)
    _kept: list[Tensor] = field(default_factory=list)

    def record(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        """Take in the call of a function of torch."""
        plain = name.rstrip("_") if not name.startswith("__") else name
        source = self.names.get(id(args[0])) if args else None
        if name == "__setitem__":
            self.names.pop(id(args[0]), None)
        if not isinstance(result, Tensor):
            return
        if plain in ORIGINS:
            self._mark(result, plain)
        elif plain in CLAMPS:
            # Clamped probabilities are still probabilities, but the range of anything else is then unknown.
            self._mark(result, source if source in PROBABILITIES else "clamp")
        elif plain in SAME_VALUES and source is not None:
            self._mark(result, source)
        elif name.endswith("_") and source is not None:
            # An operation in place, such as add_, has changed the values.
            del self.names[id(args[0])]

    def of(self, tensor: Tensor) -> str | None:
        """Return the function that made `tensor`; None if it is none of ORIGINS."""
        return self.names.get(id(tensor))

    def _mark(self, tensor: Tensor, name: str) -> None:
        self.names[id(tensor)] = name
        self._kept.append(tensor)  # An id may be used again once its tensor is gone.


class Derived:
    """The tensors that some functions have made from given ones, and these themselves."""

    def __init__(self, given: Iterable[Tensor], functions: set[str]) -> None:
        self._functions = functions
        self._kept = list(given)  # An id may be used again once its tensor is gone.
        self._ids = {id(tensor) for tensor in self._kept}

    def __contains__(self, tensor: object) -> bool:
        return id(tensor) in self._ids

    def record(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        """Take in the call of a function of torch."""
        plain = name if name.startswith("__") else name.rstrip("_")
        if plain in self._functions:
            if isinstance(result, Tensor) and any(arg in self for arg in args):
                self._ids.add(id(result))
                self._kept.append(result)
        elif args and (name == "__setitem__" or (name.endswith("_") and plain != name)):
            self._ids.discard(id(args[0]))
