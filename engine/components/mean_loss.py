"""The loss of the batches of an evaluation, as if they were one batch."""

from __future__ import annotations

import math

from torch import Tensor, nn

from torchconsole.engine.components.loss_adapters import AdaptedLoss
from torchconsole.engine.components.losses import Loss
from torchconsole.engine.components.ranks import Ranks


class MeanLoss:
    """Adds up the losses of batches on the device.

    A batch counts by its samples; in a mean weighted by class, by the sum of their weights. So the result
    does not depend on how the samples are divided into batches or among processes.
    """

    def __init__(self, loss_fn: nn.Module) -> None:
        terms = zip(loss_fn.losses, loss_fn.factors, strict=True) if isinstance(loss_fn, Loss) else ()
        self._parts = [_Part(*term) for term in terms] or [_Part(loss_fn, 1.0)]

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch: outputs (B, K) and targets as the data has them. Does not wait for the device."""
        for part in self._parts:
            part.update(outputs, targets)

    def compute(self, ranks: Ranks) -> float:
        """Return the loss of all batches of all `ranks`; nan if nothing counts. The host waits here."""
        totals = ranks.totals(*(value for part in self._parts for value in (part.sum, part.weight)))
        numbers = [float(total) for total in totals]
        weights = numbers[1::2]
        if not all(weights):
            return math.nan
        terms = zip(self._parts, numbers[::2], weights, strict=True)
        return sum(part.factor * (total / weight) for part, total, weight in terms)


class _Part:
    """One of the losses whose sum is the loss, each with a count of its own."""

    def __init__(self, loss: nn.Module, factor: float) -> None:
        self.factor = factor
        self.sum: Tensor | float = 0.0
        self.weight: Tensor | float = 0.0
        self._loss = loss

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        if isinstance(self._loss, AdaptedLoss):
            total, weight = self._loss.sum_and_weight(outputs, targets)
        else:
            total, weight = self._loss(outputs, targets) * len(targets), len(targets)
        self.sum, self.weight = self.sum + total, self.weight + weight
