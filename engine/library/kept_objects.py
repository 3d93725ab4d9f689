"""What a program has named in `run.keep`: its state as a checkpoint may hold it, and its restoring."""

from __future__ import annotations

import gc
import re
from collections.abc import Collection, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from torchconsole.engine.components.generators import (
    GENERATORS,
    generator_state,
    global_generators,
    restore_generator,
)
from torchconsole.engine.components.models.state_dict_diff import diff_state_dict
from torchconsole.engine.components.plain_state import PLAIN, copied, decode, encode
from torchconsole.engine.errors import CheckpointError, RunError

MOST_SEARCHED, MOST_ITEMS = 2000, 100
"""Objects that are searched for a generator, and those of one collection."""

NAME = re.compile(r"[A-Za-z_]\w*")


class KeptObjects:
    """The objects of one run, by the names that the program gave them. Raises RunError."""

    def __init__(self, objects: Mapping[str, Any]) -> None:
        for name, value in objects.items():
            _check(name, value)
        self.objects = {path: each for name, value in objects.items() for path, each in _inside(name, value)}
        self.models = {name: each for name, each in self.objects.items() if isinstance(each, nn.Module)}
        self.optimizers = {name: each for name, each in self.objects.items() if isinstance(each, Optimizer)}
        self.state_dict()  # so that what cannot be saved is refused now

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return the states: `models`, `optimizers` and `others`, each by name. Raises RunError."""
        found: dict[str, dict[str, Any]] = {"models": {}, "optimizers": {}, "others": {}}
        for name, value in self.objects.items():
            try:
                found[self._part(name)][name] = _state_of(value)
            except TypeError as error:
                raise RunError(
                    f"run.keep({name}=...): the state of this {type(value).__name__} cannot be saved: {error}"
                ) from error
        return found

    def refuse_sharded(self) -> None:
        """Raise RunError for a model of which each process has only a part."""
        for name, model in self.models.items():
            parts = [type(each).__name__ for each in (*model.modules(), *model.parameters())]
            if {"FullyShardedDataParallel", "DTensor"} & set(parts):
                raise RunError(
                    f"run.keep({name}=...): the model is sharded over the processes, and a checkpoint of "
                    "run.keep has whole models only; use `torchconsole run` without torchconsole.run, and "
                    "save the model with torch.distributed.checkpoint"
                )

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Restore what `state_dict` returned; return what does not match the present names.

        Raises CheckpointError for a state that does not fit its object.
        """
        saved = {
            name: value for part in ("models", "optimizers", "others") for name, value in state[part].items()
        }
        for name, value in self.objects.items():
            if name in saved:
                _restore(name, value, saved[name])
        new, gone = self.objects.keys() - saved.keys(), saved.keys() - self.objects.keys()
        return [
            *(f"{name} is not in the checkpoint, and begins anew" for name in sorted(new)),
            *(f"{name} is in the checkpoint, but not in run.keep" for name in sorted(gone)),
        ]

    def generators(self) -> dict[str, Any]:
        """Return the states of the generators."""
        return {
            name: generator_state(value)
            for name, value in self.objects.items()
            if isinstance(value, GENERATORS)
        }

    def restore_generators(self, saved: Mapping[str, Any]) -> None:
        """Restore what `generators` returned."""
        for name, state in saved.items():
            if isinstance(self.objects.get(name), GENERATORS):
                restore_generator(self.objects[name], state)

    def gradients(self, names: Collection[str]) -> dict[str, list[Tensor | None]]:
        """Return the gradients of the parameters of these optimizers: what an accumulation has so far."""
        return {
            name: [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
            for name, optimizer in self.optimizers.items()
            if name in names
        }

    def restore_gradients(self, saved: Mapping[str, list[Tensor | None]]) -> None:
        """Restore what `gradients` returned."""
        for name, optimizer in self.optimizers.items():
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for parameter, gradient in zip(parameters, saved.get(name, []), strict=False):
                parameter.grad = None if gradient is None else gradient.to(parameter.device, copy=True)

    def buffers(self) -> dict[str, dict[str, Tensor]]:
        """Return the buffers of the models: each replica has statistics of its own."""
        return {name: dict(model.named_buffers()) for name, model in self.models.items()}

    def restore_buffers(self, saved: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Restore what `buffers` returned."""
        for name, model in self.models.items():
            for path, buffer in model.named_buffers():
                if (value := saved.get(name, {}).get(path)) is not None:
                    buffer.copy_(value)

    def _part(self, name: str) -> str:
        return "models" if name in self.models else "optimizers" if name in self.optimizers else "others"


def has_hidden_generator(batches: object, kept: KeptObjects) -> bool:
    """Whether an iterator holds a generator of random numbers of its own that is not kept.

    What an iterator goes over cannot be seen by its attributes, so this asks the garbage collector.
    """
    known = global_generators() | {id(each) for each in kept.objects.values()}
    seen, waiting = set[int](), [batches]
    while waiting and len(seen) < MOST_SEARCHED:
        found = waiting.pop(0)
        if id(found) in seen or isinstance(found, type | ModuleType | FunctionType | Tensor):
            continue
        seen.add(id(found))
        if isinstance(found, GENERATORS) and id(found) not in known:
            return True
        waiting += gc.get_referents(found)[:MOST_ITEMS]
    return False


def _check(name: str, value: Any) -> None:
    if not NAME.fullmatch(name):
        raise RunError(f"run.keep: {name!r} is not a name; names are like those of variables")
    if isinstance(value, (list, dict)) or _has_own_state(value):
        return
    if isinstance(value, tuple) and any(_has_own_state(each) for _, each in _inside(name, value)):
        return
    raise RunError(
        f"run.keep({name}=...): {_article(value)} has no state_dict and load_state_dict, and is no "
        "generator, list or dict; keep the object that holds it, or a dict that the program changes in place"
    )


def _inside(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the objects with a state of their own in lists and dicts, by their paths; else the value itself.

    Raises RunError for a list or dict that has other values beside them.
    """
    if not isinstance(value, (list, tuple, dict)) or _has_own_state(value):
        yield name, value
        return
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    found = [(path, each) for key, item in items for path, each in _inside(f"{name}.{key}", item)]
    if not any(_has_own_state(each) for _, each in found):
        yield name, value
    elif all(_has_own_state(each) for _, each in found):
        yield from found
    else:
        raise RunError(
            f"run.keep({name}=...): this {type(value).__name__} has objects with a state_dict and other "
            "values in it; keep them apart, each under a name of its own"
        )


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _has_state_dict(value: Any) -> bool:
    if isinstance(value, type | Tensor):
        return False
    return all(callable(getattr(value, name, None)) for name in ("state_dict", "load_state_dict"))


def _has_own_state(value: Any) -> bool:
    return isinstance(value, GENERATORS) or _has_state_dict(value)


def _state_of(value: Any) -> Any:
    if isinstance(value, GENERATORS):
        return generator_state(value)
    return _plain(value.state_dict() if _has_state_dict(value) else value)


def _plain(value: Any) -> Any:
    """Return a state as other readers of the checkpoint expect it; what is not plain is encoded."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping) and all(type(key) in (str, int) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    return value if type(value) in PLAIN else encode(value)


def _restore(name: str, value: Any, saved: Any) -> None:
    try:
        if isinstance(value, GENERATORS):
            restore_generator(value, saved)
        elif isinstance(value, nn.Module):
            if diff := diff_state_dict(value, saved):
                raise CheckpointError(f"{name}: the checkpoint does not match the model: {diff}")
            value.load_state_dict(saved)
        elif _has_state_dict(value):
            # A copy: an optimizer goes on with the very tensors that it is given.
            value.load_state_dict(copied(decode(saved)))
        elif isinstance(value, list):
            value[:] = _on_devices_of(value, decode(saved))
        else:
            restored = _on_devices_of(value, decode(saved))
            value.clear()
            value.update(restored)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{name}: its state in the checkpoint does not fit this {type(value).__name__}: {error}"
        ) from error


def _on_devices_of(now: Any, restored: Any) -> Any:
    """Return restored values with each tensor on the device of the one in its place."""
    if isinstance(now, Tensor) and isinstance(restored, Tensor):
        return restored.to(now.device)
    if isinstance(now, dict) and type(restored) is dict:
        return {key: _on_devices_of(now.get(key), value) for key, value in restored.items()}
    if isinstance(now, list | tuple) and type(restored) in (list, tuple):
        rest = [None] * (len(restored) - len(now))
        return type(restored)(map(_on_devices_of, [*now, *rest], restored))
    return restored
