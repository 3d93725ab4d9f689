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

ALIASES = {
    **{"special_expit": "sigmoid", "special_softmax": "softmax", "special_log_softmax": "log_softmax"},
    **{"softmin": "softmax", "gumbel_softmax": "softmax"},
}
"""Functions that compute the same, or something of the same range."""

SAME_VALUES = {
    *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous", "clone", "permute"),
    *("transpose", "movedim", "float", "double", "half", "bfloat16", "to", "type", "ravel", "view_as"),
    *("reshape_as", "alias", "cpu", "cuda", "__getitem__", "mT", "T", "narrow", "select"),
}
"""Functions whose result has values of their first argument, maybe in another shape or type."""

CLAMPS = {"clamp", "clip", "clamp_min", "clamp_max"}

WITHOUT_LIMITS = {None, "clamp", *LAYERS}
"""Origins that do not tell in which range values lie; a layer may take normalized vectors and weights."""

PROBABILITIES = {"softmax", "sigmoid", "hardsigmoid"}

ONE_BY_ONE = {
    *SAME_VALUES,
    *("detach", "expand", "expand_as", "repeat", "long", "int", "type_as", "one_hot", "nan_to_num", "where"),
    *("add", "sub", "__rsub__", "rsub", "mul", "div", "__rdiv__", "true_divide", "neg", "pow", "square"),
    *("sqrt", "abs", "sign", "exp", "expm1", "log", "log1p", "log2", "log10", "bool", "__invert__", *CLAMPS),
    *("gt", "ge", "lt", "le", "eq", "ne", "__eq__", "__ne__", "logical_not"),
}
"""Functions that compute each value of their result from one value of each argument."""


@dataclass
class Origins:
    """Which of ORIGINS made a tensor, also after changes of shape or type."""

    names: dict[int, str] = field(default_factory=dict)
    layers: dict[int, str] = field(default_factory=dict)
    """The name of the module that did, if it does nothing else."""
    _kept: list[Tensor] = field(default_factory=list)

    def record(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        """Take in the call of a function of torch."""
        plain = name.rstrip("_") if not name.startswith("__") else name
        plain = ALIASES.get(plain, plain)
        source = self.names.get(id(args[0])) if args else None
        if name == "__setitem__":
            self.names.pop(id(args[0]), None)
        if not isinstance(result, Tensor):
            return
        if plain in ORIGINS:
            self._mark(result, plain)
        elif plain in CLAMPS:
            # Clamped probabilities are still probabilities, but the range of anything else is then unknown.
            self._mark(result, source if source in PROBABILITIES else "clamp", args[0])
        elif plain in SAME_VALUES and source is not None:
            self._mark(result, source, args[0])
        elif name.endswith("_") and source is not None:
            # An operation in place, such as add_, has changed the values.
            del self.names[id(args[0])]

    def of(self, tensor: Tensor) -> str | None:
        """Return the function that made `tensor`; None if it is none of ORIGINS."""
        return self.names.get(id(tensor))

    def made_by(self, layer: str, tensor: Tensor) -> None:
        """Note that the module `layer` has just returned `tensor`."""
        if id(tensor) in self.names:
            self.layers[id(tensor)] = layer

    def layer_of(self, tensor: Tensor) -> str | None:
        """Return the module that made `tensor`; None if it is none of those noted."""
        return self.layers.get(id(tensor))

    def _mark(self, tensor: Tensor, name: str, source: Tensor | None = None) -> None:
        self.names[id(tensor)] = name
        layer = self.layers.pop(id(tensor), None) if source is None else self.layers.get(id(source))
        if source is not None and layer is not None:
            self.layers[id(tensor)] = layer
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
