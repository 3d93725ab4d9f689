"""Where a model is: on one device, or split over several by hand, as `model.device_map` says.

Of a model that is split, each module with weights gets its inputs on the device of its weights, and what the
model returns goes back to the device that trains, where the targets are. Residual connections across devices
and the like are up to the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import counted

DeviceMap = Mapping[str, str] | Literal["own"] | None


def place_model(model: nn.Module, device_map: DeviceMap, device: torch.device) -> nn.Module:
    """Move a model to `device`, or split it as `device_map` says. Return it.

    Raises ComponentError for a module or a device that does not exist, and for weights without a device.
    """
    if device_map is None:
        return model.to(device)
    if device_map == "own":  # it moves what passes between its modules, too
        model.register_forward_pre_hook(partial(_to_first, _first_device(model, device)), with_kwargs=True)
    else:
        _split(model, device_map)
        for module in model.modules():
            if _own_tensors(module):
                module.register_forward_pre_hook(_to_weights, with_kwargs=True)
    model.register_forward_hook(partial(_to_targets, device))
    return model


def check_processes(model: nn.Module, device_map: DeviceMap, ranks: Ranks) -> None:
    """Raise ComponentError if several processes cannot train a model with its `device_map`."""
    if device_map is None or ranks.is_alone:
        return
    on_gpus = any(tensor.is_cuda for tensor in chain(model.parameters(), model.buffers()))
    if on_gpus and ranks.local_size > 1:
        raise ComponentError(
            f"model.device_map: {ranks.local_size} processes of this machine would put their models on the "
            "same GPUs; start one process on each machine (--nproc 1)"
        )


def _split(model: nn.Module, device_map: Mapping[str, str]) -> None:
    modules = dict(model.named_modules())
    for name in sorted(device_map, key=_depth):  # a module within another one comes after it
        if name not in modules:
            known = ", ".join(each for each in modules if each and "." not in each)
            raise ComponentError(
                f"model.device_map.{name}: the model has no module of this name; it has {known}, and "
                "those within them (`torchconsole summary PRESET` lists them)"
            )
        modules[name].to(_device(name, device_map[name]))
    if "" not in device_map:
        names = [name for name, _ in chain(model.named_parameters(), model.named_buffers())]
        missing = [name for name in names if not any(_is_in(name, module) for module in device_map)]
        if missing:
            raise ComponentError(
                f"model.device_map: says no device for {counted(len(missing), 'tensor')} such as "
                f'{missing[0]}; add their module, or "" for all that is not named'
            )


def _depth(name: str) -> int:
    return len(name.split(".")) if name else 0


def _is_in(tensor: str, module: str) -> bool:
    return tensor.startswith(f"{module}.")


def _device(name: str, wanted: str) -> torch.device:
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise ComponentError(
            f"model.device_map.{name}: {wanted} does not exist, torch finds {counted(count, 'GPU')}"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ComponentError(f"model.device_map.{name}: mps does not exist on this machine")
    return device


def _own_tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def _first_device(model: nn.Module, default: torch.device) -> torch.device:
    return next((tensor.device for tensor in chain(model.parameters(), model.buffers())), default)


def _to_weights(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Move inputs to the device of the module's weights; a copy of the model may be elsewhere."""
    return _moved((inputs, named), _own_tensors(module)[0].device)


def _to_first(
    device: torch.device, _module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    return _moved((inputs, named), device)


def _to_targets(device: torch.device, _module: nn.Module, _inputs: tuple[Any, ...], outputs: Any) -> Any:
    return _moved(outputs, device)


def _moved(values: Any, device: torch.device) -> Any:
    """Return nested values with their tensors on `device`; those on the meta device stay there."""

    def move(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) and not value.is_meta else value

    return tree_map(move, values)
