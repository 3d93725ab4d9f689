"""Builds the layer table: output shapes, parameters and multiply-accumulates (MACs) of one forward pass.

The pass runs on the meta device, which needs no memory and computes nothing. A model that does not support
meta gets real inputs on the CPU instead; its MACs may then be incomplete, because some CPU kernels are not
counted. A model that refuses a single sample gets a whole batch.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from torchconsole.engine.protocol.info import LayerInfo, ModelSummary
from torchconsole.engine.text import error_summary
from torchconsole.engine.training.preserve import preserve

log = logging.getLogger(__name__)


def summarize(model: nn.Module, inputs: Tensor) -> ModelSummary:
    """Summarize `model` for one sample of a batch `inputs` (B, ...). The model is not changed.

    Never raises: if every forward pass fails, the table has no output shapes and no MACs, and a warning is
    logged.
    """
    problem: Exception | None = None
    with preserve([]):
        for device in ("meta", "cpu"):
            for batch in (inputs[:1], inputs) if len(inputs) > 1 else (inputs,):
                try:
                    return _measure(model, batch, device)
                except Exception as error:  # noqa: BLE001 - the table is worth no run
                    problem = problem or error
    if problem is not None:
        log.warning("the layer table has no output shapes: %s", error_summary(problem))
    return _table(model, inputs, {}, {}, None)


def _measure(model: nn.Module, inputs: Tensor, device: str) -> ModelSummary:
    """Run a copy of the model on `device`. Raises whatever the model raises."""
    model = copy.deepcopy(model).to(device).eval()
    shapes: dict[str, list[int]] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(_shape_hook(name, shapes, len(inputs)))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(inputs.detach().to(device, copy=True))
    root = type(model).__name__
    per_sample = 2 * len(inputs)
    macs = {
        name.removeprefix(f"{root}."): sum(counts.values()) // per_sample
        for name, counts in counter.get_flop_counts().items()
    }
    table = _table(model, inputs, shapes, macs, counter.get_total_flops() // per_sample)
    return table.model_copy(update={"macs_complete": device == "meta"})


def _table(
    model: nn.Module,
    inputs: Tensor,
    shapes: dict[str, list[int]],
    macs: dict[str, int],
    total: int | None,
) -> ModelSummary:
    """Return the table; without a `total` of the MACs, those of the layers are unknown as well."""
    layers = [
        _layer(name, module, shapes.get(name), None if total is None else macs.get(name, 0))
        for name, module in model.named_modules()
        if name
    ]
    return ModelSummary(
        layers=layers,
        params=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        macs=total,
        macs_complete=total is not None,
        input_shape=list(inputs.shape[1:]),
    )


def _layer(name: str, module: nn.Module, shape: list[int] | None, macs: int | None) -> LayerInfo:
    return LayerInfo(
        name=name,
        type=type(module).__name__,
        depth=name.count("."),
        output_shape=shape,
        params=sum(p.numel() for p in module.parameters()),
        trainable=sum(p.numel() for p in module.parameters() if p.requires_grad),
        macs=macs,
    )


def _shape_hook(name: str, shapes: dict[str, list[int]], batch: int) -> Callable[..., None]:
    """Return a hook that notes the shape of a module's output, for a batch of one."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor):
            shape = list(first.shape)
            shapes[name] = [1, *shape[1:]] if shape[:1] == [batch] else shape

    return hook
