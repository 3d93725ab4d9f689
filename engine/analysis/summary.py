"""Builds the layer table: shapes, parameters, multiply-accumulates (MACs) and memory of a forward pass.

The pass runs on the meta device, which needs no memory and computes nothing. A model that does not support
meta gets real inputs on the CPU instead; its MACs may then be incomplete, because some CPU kernels are not
counted. A model that refuses a single sample gets a whole batch.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from torchconsole.engine.analysis.activations import measure_activations
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
    return _table(model, inputs, _Measured())


@dataclass(frozen=True)
class _Measured:
    """What a forward pass has shown, by the modules' names. The name of the model itself is empty."""

    shapes: dict[str, list[int]] = field(default_factory=dict)
    macs: Counter[str] | None = None
    activations: Counter[str] | None = None


def _measure(model: nn.Module, inputs: Tensor, device: str) -> ModelSummary:
    """Run a copy of the model on `device`. Raises whatever the model raises."""
    model = copy.deepcopy(model).to(device).eval()
    inputs = inputs.detach().to(device, copy=True)
    samples = len(inputs)
    activations = measure_activations(model, inputs)
    shapes: dict[str, list[int]] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(_shape_hook(name, shapes, samples))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(inputs)
    root = type(model).__name__
    macs = Counter(
        {
            name.removeprefix(f"{root}."): sum(counts.values()) // (2 * samples)
            for name, counts in counter.get_flop_counts().items()
        }
    )
    macs[""] = counter.get_total_flops() // (2 * samples)
    table = _table(model, inputs, _Measured(shapes, macs, activations))
    return table.model_copy(update={"macs_complete": device == "meta"})


def _table(model: nn.Module, inputs: Tensor, measured: _Measured) -> ModelSummary:
    """Return the table; what is not measured is unknown."""
    macs, activations = measured.macs, measured.activations
    return ModelSummary(
        layers=[_layer(name, module, measured) for name, module in model.named_modules() if name],
        params=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        macs=None if macs is None else macs[""],
        macs_complete=macs is not None,
        activations=None if activations is None else activations[""],
        input_shape=list(inputs.shape[1:]),
    )


def _layer(name: str, module: nn.Module, measured: _Measured) -> LayerInfo:
    return LayerInfo(
        name=name,
        type=type(module).__name__,
        depth=name.count("."),
        output_shape=measured.shapes.get(name),
        params=sum(p.numel() for p in module.parameters()),
        trainable=sum(p.numel() for p in module.parameters() if p.requires_grad),
        macs=None if measured.macs is None else measured.macs[name],
        activations=None if measured.activations is None else measured.activations[name],
    )


def _shape_hook(name: str, shapes: dict[str, list[int]], batch: int) -> Callable[..., None]:
    """Return a hook that notes the shape of a module's output, for a batch of one."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor):
            shape = list(first.shape)
            shapes[name] = [1, *shape[1:]] if shape[:1] == [batch] else shape

    return hook
