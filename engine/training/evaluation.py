"""Evaluation: the loss and the metrics over a part of the data that is not trained on."""

from __future__ import annotations

import torch
from torch import nn

from torchconsole.engine.components.data import EvalBatches
from torchconsole.engine.components.metrics import MetricSet


@torch.inference_mode()
def evaluate(
    model: nn.Module, loss_fn: nn.Module, batches: EvalBatches, metrics: MetricSet
) -> dict[str, float]:
    """`val/loss` (sample-weighted mean) and `metrics` of `model` in eval mode.

    The modes of the model's modules are restored; no random numbers are drawn.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    metrics.reset()
    loss_sum: torch.Tensor | float = 0.0
    count = 0
    for inputs, targets in batches:
        outputs = model(inputs)
        loss_sum = loss_sum + loss_fn(outputs, targets) * len(targets)
        count += len(targets)
        metrics.update(outputs, targets)
    for module, training in modes:
        module.training = training
    # The host waits for the device here: once an evaluation.
    return {"val/loss": float(loss_sum) / count, **metrics.compute()}
