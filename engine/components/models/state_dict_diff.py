"""Compares the names and shapes of a state dict with a model's, and renames its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from torchconsole.engine.errors import ComponentError

LISTED = 12
"""How many names of a kind a line holds."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and AveragedModel, and torch.compile, put before every name."""


@dataclass(frozen=True)
class Differences:
    """Where a state dict is not a model's; of `mismatched` tensors it tells the shape, and the model's."""

    missing: list[str]
    unexpected: list[str]
    mismatched: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        shapes = [f"{name} {shapes}" for name, shapes in self.mismatched.items()]
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "mismatched": shapes}
        return "; ".join(f"{kind}: {_listed(names)}" for kind, names in kinds.items() if names)


def compare(model: nn.Module, state: Mapping[str, Any]) -> Differences:
    """How `state` differs from the model's own state dict in names and shapes."""
    own = model.state_dict()
    shared = [name for name in own if name in state]
    return Differences(
        missing=[name for name in own if name not in state],
        unexpected=[name for name in state if name not in own],
        mismatched={
            name: f"{_shape(state[name])} for {_shape(own[name])}"
            for name in shared
            if _shape(state[name]) != _shape(own[name])
        },
    )


def rename(state: dict[str, Any], model: nn.Module, prefixes: Mapping[str, str]) -> None:
    """Take wrappers' prefixes off the keys of `state`, then replace `prefixes` (old -> new), in place.

    A wrapper's prefix stays where the model's own names have it. Raises ComponentError for an old prefix that
    no key begins with.
    """
    names = list(model.state_dict())
    for wrapper in WRAPPERS * 2:
        if not any(name.startswith(wrapper) or f".{wrapper}" in name for name in names):
            _unwrap(state, wrapper)
    for old in prefixes:
        if not any(key.startswith(old) for key in state):
            raise ComponentError(
                f"model.rename: no name in the file starts with {old!r}; available: {_listed(list(state))}"
            )
    if prefixes:
        _rekey(state, lambda key: _with_new_prefix(key, prefixes))


def prefix_hint(model: nn.Module, state: Mapping[str, Any]) -> str:
    """What to write for model.rename, where a prefix alone keeps the names in `state` from being right."""
    names = set(model.state_dict())
    prefix = _common_part(state)
    if prefix and names & {key.removeprefix(prefix) for key in state}:
        return f'; is it model.rename = {{"{prefix}" = ""}}?'
    prefix = _common_part(names)
    if prefix and names & {prefix + key for key in state}:
        return f'; is it model.rename = {{"" = "{prefix}"}}?'
    return ""


def tied_names(model: nn.Module) -> dict[str, str]:
    """The names of tensors that another name in the state dict stands for too, with that first name."""
    first: dict[tuple[Any, ...], str] = {}
    tied = {}
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.numel():
            place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
            if first.setdefault(place, name) != name:
                tied[name] = first[place]
    return tied


def _unwrap(state: dict[str, Any], wrapper: str) -> None:
    wrapped = [key for key in state if key.startswith(wrapper)]
    if len(wrapped) == len(state) - ("n_averaged" in state):
        state.pop("n_averaged", None)
        _rekey(state, lambda key: key.removeprefix(wrapper))
    elif wrapper == "_orig_mod.":  # a part of the model was compiled
        _rekey(state, lambda key: key.replace(wrapper, ""))


def _rekey(state: dict[str, Any], new_key: Callable[[str], str]) -> None:
    """In place, because a state dict carries the versions of its layers along in an attribute."""
    for key in list(state):
        state[new_key(key)] = state.pop(key)
    versions = getattr(state, "_metadata", {})
    for layer in list(versions):
        versions[new_key(f"{layer}.").removesuffix(".")] = versions.pop(layer)


def _with_new_prefix(key: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if key.startswith(old):
            return new + key[len(old) :]
    return key


def _common_part(names: Iterable[str]) -> str:
    """The first part of all names, as `backbone.`; empty where they differ in it."""
    firsts = {name.partition(".")[0] for name in names}
    return f"{firsts.pop()}." if len(firsts) == 1 else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _shape(value: Any) -> str:
    """Of a tensor; a layer may keep other things in its state too."""
    return "x".join(map(str, getattr(value, "shape", ()))) or "scalar"
