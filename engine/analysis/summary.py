"""Builds the layer table: output shapes, parameters and multiply-accumulates (MACs) of one forward pass.

The pass runs on the meta device, which needs no memory and computes nothing. A model that does not support
meta gets zeros on the CPU instead; its MACs may then be incomplete, because some CPU kernels are not counted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from torchconsole.engine.protocol.info import LayerInfo, ModelSummary


def summarize(model: nn.Module, input_shape: Sequence[int]) -> ModelSummary:
    """Summarize `model` for one input of `input_shape` (without the batch). The model is not changed."""
    try:
        return _measure(copy.deepcopy(model).to("meta"), input_shape, "meta")
    except (RuntimeError, NotImplementedError, TypeError):
        # Data-dependent control flow and some custom operators have no meta kernels.
        with torch.random.fork_rng():
            return _measure(copy.deepcopy(model).cpu(), input_shape, "cpu")


def _measure(model: nn.Module, input_shape: Sequence[int], device: str) -> ModelSummary:
    shapes: dict[str, list[int]] = {}
    hooks = [
        module.register_forward_hook(_shape_hook(name, shapes)) for name, module in model.named_modules()
    ]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval()(torch.zeros(1, *input_shape, device=device))
    for hook in hooks:
        hook.remove()
    flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    root = type(model).__name__
    layers = [
        _layer(name, module, shapes.get(name), flops.get(f"{root}.{name}", 0) // 2)
        for name, module in model.named_modules()
        if name
    ]
    return ModelSummary(
        layers=layers,
        params=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        macs=counter.get_total_flops() // 2,
        macs_complete=device == "meta",
        input_shape=list(input_shape),
    )


def _layer(name: str, module: nn.Module, shape: list[int] | None, macs: int) -> LayerInfo:
    return LayerInfo(
        name=name,
        type=type(module).__name__,
        depth=name.count("."),
        output_shape=shape,
        params=sum(p.numel() for p in module.parameters()),
        trainable=sum(p.numel() for p in module.parameters() if p.requires_grad),
        macs=macs,
    )


def _shape_hook(name: str, shapes: dict[str, list[int]]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor):
            shapes[name] = list(first.shape)

    return hook
