"""Adapts outputs and targets to the losses of torch.nn, and lists the tasks that each loss supports.

Models return raw outputs (logits), and the data has targets in the form that `TaskType` describes. Each loss
of torch expects its own form of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchconsole.engine.components.data.types import TaskType

CLASSIFICATION: tuple[TaskType, ...] = ("multiclass", "binary", "multilabel")
ANY_TASK: tuple[TaskType, ...] = (*CLASSIFICATION, "regression")


def match_shape(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets in the shape of the outputs: class indices (B,) become one-hot (B, C), others are unchanged.

    Raises ValueError if the shapes still differ: torch would broadcast (B, 1) against (B,) to (B, B).
    """
    if not targets.is_floating_point():
        targets = F.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)
    if targets.shape != outputs.shape:
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)} do not match targets of shape {tuple(targets.shape)}"
        )
    return targets


def plus_minus_one(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets (B, L) with the values -1 and 1 instead of 0 and 1."""
    return 2 * match_shape(outputs, targets) - 1


def label_indices(outputs: Tensor, targets: Tensor) -> Tensor:
    """The indices of each sample's labels, (B, L) int64, padded with -1 at the end."""
    ranked = match_shape(outputs, targets).sort(dim=1, descending=True, stable=True)
    return torch.where(ranked.values > 0.5, ranked.indices, -1)


def log_softmax(outputs: Tensor) -> Tensor:
    """Logits (B, C) as log-probabilities; log-probabilities are unchanged."""
    return F.log_softmax(outputs, dim=1)


def unchanged(outputs: Tensor) -> Tensor:
    """Logits as they are."""
    return outputs


@dataclass(frozen=True)
class LossAdapter:
    """The tasks that a loss supports, and the functions that prepare its two arguments."""

    tasks: tuple[TaskType, ...] = ANY_TASK
    outputs: Callable[[Tensor], Tensor] = unchanged
    targets: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def is_identity(self) -> bool:
        """Whether the loss takes outputs and targets unchanged."""
        return self.outputs is unchanged and self.targets is None


LOSS_ADAPTERS: dict[str, LossAdapter] = {
    "CrossEntropyLoss": LossAdapter(("multiclass",)),
    "MultiMarginLoss": LossAdapter(("multiclass",)),
    "NLLLoss": LossAdapter(("multiclass",), log_softmax),
    "KLDivLoss": LossAdapter(("multiclass",), log_softmax, match_shape),
    "BCEWithLogitsLoss": LossAdapter(CLASSIFICATION, unchanged, match_shape),
    "BCELoss": LossAdapter(CLASSIFICATION, torch.sigmoid, match_shape),
    "MultiLabelSoftMarginLoss": LossAdapter(CLASSIFICATION, unchanged, match_shape),
    "SoftMarginLoss": LossAdapter(CLASSIFICATION, unchanged, plus_minus_one),
    "MultiLabelMarginLoss": LossAdapter(("multiclass", "multilabel"), unchanged, label_indices),
    "MSELoss": LossAdapter(ANY_TASK, unchanged, match_shape),
    "L1Loss": LossAdapter(ANY_TASK, unchanged, match_shape),
    "SmoothL1Loss": LossAdapter(ANY_TASK, unchanged, match_shape),
    "HuberLoss": LossAdapter(ANY_TASK, unchanged, match_shape),
    "PoissonNLLLoss": LossAdapter(("regression",), unchanged, match_shape),
}
"""By name. A loss of torch.nn that is not listed gets outputs and targets unchanged, for any task."""


class AdaptedLoss(nn.Module):
    """A loss of torch whose arguments are prepared by a `LossAdapter`."""

    def __init__(self, loss: nn.Module, adapter: LossAdapter) -> None:
        super().__init__()
        self.loss = loss
        self.adapter = adapter

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (B, K) and targets as the data has them -> a scalar; computed in float32 under autocast."""
        if not torch.is_autocast_enabled(targets.device.type):
            return self._loss(outputs, targets)
        # On CUDA torch refuses BCELoss under autocast, because half precision is unsafe for it.
        with torch.autocast(targets.device.type, enabled=False):
            return self._loss(outputs.float(), targets)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.adapter.targets is not None:
            targets = self.adapter.targets(outputs, targets)
        if getattr(self.loss, "log_target", False):
            # log(0) is infinite, and the loss would multiply it by 0.
            targets = targets.clamp(min=torch.finfo(targets.dtype).tiny).log()
        loss: Tensor = self.loss(self.adapter.outputs(outputs), targets)
        return loss
