"""Evaluation: the loss and the accuracy over the validation data."""

from __future__ import annotations

import torch
from torch import nn

from torchconsole.engine.components.data import Samples


@torch.inference_mode()
def evaluate(model: nn.Module, loss_fn: nn.Module, samples: Samples, batch_size: int) -> dict[str, float]:
    """`val/loss` (sample-weighted mean) and `val/accuracy` (0 to 1) of `model` in eval mode.

    The model's mode is restored; no random numbers are drawn.
    """
    was_training = model.training
    model.eval()
    device = samples.targets.device
    loss_sum = torch.zeros((), device=device, dtype=torch.float64 if device.type == "cpu" else torch.float32)
    correct = torch.zeros((), device=device, dtype=torch.int64)
    for start in range(0, len(samples), batch_size):
        inputs = samples.inputs[start : start + batch_size]
        targets = samples.targets[start : start + batch_size]
        logits = model(inputs)
        loss_sum += loss_fn(logits, targets) * len(targets)
        correct += (logits.argmax(dim=1) == targets).sum()
    model.train(was_training)
    # The host waits for the device here: once an evaluation.
    return {"val/loss": loss_sum.item() / len(samples), "val/accuracy": correct.item() / len(samples)}
