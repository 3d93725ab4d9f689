"""Measures the activations' memory: the tensors that a forward pass keeps for the backward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef


def measure_activations(model: nn.Module, inputs: Tensor) -> Counter[str]:
    """Return the bytes that each module keeps of one sample of `inputs` (B, ...), by the modules' names.

    A module's bytes include those of the modules in it; the empty name is the whole model. A storage counts
    once, where it is first kept, and those of parameters and buffers do not count. Raises what the model
    raises.
    """
    counted = {_storage_of(tensor) for tensor in (*model.parameters(), *model.buffers())}
    inside: list[str] = []
    sizes: Counter[str] = Counter()

    def pack(tensor: Tensor) -> Tensor:
        if (storage := _storage_of(tensor)) not in counted:
            counted.add(storage)
            names = {""}.union(*(_around(name) for name in inside))
            sizes.update(dict.fromkeys(names, tensor.untyped_storage().nbytes()))
        return tensor

    handles = []
    for name, module in model.named_modules():
        if name:
            enter, leave = _hooks(name, inside)
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave))
    try:
        with torch.enable_grad(), saved_tensors_hooks(pack, lambda tensor: tensor):
            output = model(inputs)
            del output
    finally:
        for handle in handles:
            handle.remove()
    return Counter({name: size // len(inputs) for name, size in sizes.items()})


def _storage_of(tensor: Tensor) -> StorageWeakRef:
    """Return what equals for tensors of one storage. No later storage gets the address while this exists."""
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _around(name: str) -> set[str]:
    """Return the name of a module and those of the modules around it."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def _hooks(name: str, inside: list[str]) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the hooks that note that the pass is in a module, and that it has left it."""

    def enter(module: nn.Module, inputs: Any) -> None:
        inside.append(name)

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        inside.pop()

    return enter, leave
