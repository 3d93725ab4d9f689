"""Compares the names and shapes in a state dict with a model's, and renames its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from torchconsole.engine.components.shards import local
from torchconsole.engine.components.torch_compat import layer_versions
from torchconsole.engine.errors import ComponentError

MAX_LISTED = 12
"""How many names of each kind a message lists."""

WRAPPER_PREFIXES = ("module.", "_orig_mod.")
"""Prefixes of names in a wrapped model: by DataParallel and AveragedModel, and by torch.compile."""


@dataclass(frozen=True)
class StateDictDiff:
    """How a state dict differs from a model's; `mismatched` describes both shapes of a tensor."""

    missing: list[str]
    unexpected: list[str]
    mismatched: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        shapes = [f"{name} {shapes}" for name, shapes in self.mismatched.items()]
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "mismatched": shapes}
        return "; ".join(f"{kind}: {_join(names)}" for kind, names in kinds.items() if names)


def diff_state_dict(model: nn.Module, state: Mapping[str, Any]) -> StateDictDiff:
    """Compare `state` with the state dict of `model` by names and shapes."""
    expected = model.state_dict()
    shared = [name for name in expected if name in state]
    return StateDictDiff(
        missing=[name for name in expected if name not in state],
        unexpected=[name for name in state if name not in expected],
        mismatched={
            name: f"is {_shape(state[name])} instead of {_shape(expected[name])}"
            for name in shared
            if _shape(state[name]) != _shape(expected[name])
        },
    )


def rename(state: dict[str, Any], model: nn.Module, prefixes: Mapping[str, str]) -> None:
    """Remove wrappers' prefixes from the keys of `state`, then replace `prefixes` (old -> new), in place.

    A wrapper's prefix is kept if the model's own names contain it. Raises ComponentError for an old prefix
    that no key starts with.
    """
    names = list(model.state_dict())
    for wrapper in WRAPPER_PREFIXES * 2:
        if not any(name.startswith(wrapper) or f".{wrapper}" in name for name in names):
            _remove_wrapper(state, wrapper)
    for old in prefixes:
        if not any(key.startswith(old) for key in state):
            raise ComponentError(
                f"model.rename: no name in the file starts with {old!r}; available: {_join(list(state))}"
            )
    if prefixes:
        _rename_keys(state, lambda key: _replace_prefix(key, prefixes))


def rename_hint(model: nn.Module, state: Mapping[str, Any]) -> str:
    """Return a hint to set model.rename if the names in `state` only differ by a prefix; otherwise ''."""
    names = set(model.state_dict())
    prefix = _common_prefix(state)
    if prefix and names & {key.removeprefix(prefix) for key in state}:
        return f'; try model.rename = {{"{prefix}" = ""}}'
    prefix = _common_prefix(names)
    if prefix and names & {prefix + key for key in state}:
        return f'; try model.rename = {{"" = "{prefix}"}}'
    return ""


def tied_names(model: nn.Module) -> dict[str, str]:
    """Map each further name of a tied tensor in the state dict to the tensor's first name."""
    first: dict[tuple[Any, ...], str] = {}
    tied = {}
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.numel():
            storage = (tensor.device, local(tensor).data_ptr(), tensor.shape, tensor.stride())
            if first.setdefault(storage, name) != name:
                tied[name] = first[storage]
    return tied


def _remove_wrapper(state: dict[str, Any], wrapper: str) -> None:
    wrapped = [key for key in state if key.startswith(wrapper)]
    if len(wrapped) == len(state) - ("n_averaged" in state):
        state.pop("n_averaged", None)
        _rename_keys(state, lambda key: key.removeprefix(wrapper))
    elif wrapper == "_orig_mod.":  # only a part of the model was compiled
        _rename_keys(state, lambda key: key.replace(wrapper, ""))


def _rename_keys(state: dict[str, Any], new_key: Callable[[str], str]) -> None:
    """Rename in place, because an attribute of the state dict holds the versions of its layers."""
    for key in list(state):
        state[new_key(key)] = state.pop(key)
    versions = layer_versions(state)
    for layer in list(versions):
        versions[new_key(f"{layer}.").removesuffix(".")] = versions.pop(layer)


def _replace_prefix(key: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if key.startswith(old):
            return new + key[len(old) :]
    return key


def _common_prefix(names: Iterable[str]) -> str:
    """Return the first component of all names, such as `backbone.`; '' if they differ in it."""
    firsts = {name.partition(".")[0] for name in names}
    return f"{firsts.pop()}." if len(firsts) == 1 else ""


def _join(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _shape(value: Any) -> str:
    """Format the shape of a tensor; layers may also store other objects in their state."""
    return "x".join(map(str, getattr(value, "shape", ()))) or "scalar"
