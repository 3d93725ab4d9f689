"""What each loss of torch.nn wants of a model's outputs and of the data's targets, and for which tasks.

Models give raw outputs (logits) and data gives targets as `DataSpec` says; here is what lies between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchconsole.engine.components.data.types import TaskType

CLASSIFICATION: tuple[TaskType, ...] = ("multiclass", "binary", "multilabel")
ANY: tuple[TaskType, ...] = (*CLASSIFICATION, "regression")


def hot(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets in the outputs' shape: class indices (B,) become one-hot (B, C), others stay.

    Raises ValueError where the shapes differ: torch would broadcast (B, 1) against (B,) into (B, B).
    """
    if not targets.is_floating_point():
        targets = F.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)
    if targets.shape != outputs.shape:
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)} do not fit targets of shape {tuple(targets.shape)}"
        )
    return targets


def signs(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets (B, L) of -1 and 1 instead of 0 and 1."""
    return 2 * hot(outputs, targets) - 1


def label_lists(outputs: Tensor, targets: Tensor) -> Tensor:
    """The indices of each sample's labels, (B, L) int64, filled up with -1 behind the last."""
    ranked = hot(outputs, targets).sort(dim=1, descending=True, stable=True)
    return torch.where(ranked.values > 0.5, ranked.indices, -1)


def log_softmax(outputs: Tensor) -> Tensor:
    """Logits (B, C) as log-probabilities; what is normalised already stays as it is."""
    return F.log_softmax(outputs, dim=1)


def unchanged(outputs: Tensor) -> Tensor:
    """Logits as they are."""
    return outputs


@dataclass(frozen=True)
class LossForm:
    """The tasks that a loss is for, and what makes its two arguments."""

    tasks: tuple[TaskType, ...] = ANY
    outputs: Callable[[Tensor], Tensor] = unchanged
    targets: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the loss takes outputs and targets as they come."""
        return self.outputs is unchanged and self.targets is None


FORMS: dict[str, LossForm] = {
    "CrossEntropyLoss": LossForm(("multiclass",)),
    "MultiMarginLoss": LossForm(("multiclass",)),
    "NLLLoss": LossForm(("multiclass",), log_softmax),
    "KLDivLoss": LossForm(("multiclass",), log_softmax, hot),
    "BCEWithLogitsLoss": LossForm(CLASSIFICATION, unchanged, hot),
    "BCELoss": LossForm(CLASSIFICATION, torch.sigmoid, hot),
    "MultiLabelSoftMarginLoss": LossForm(CLASSIFICATION, unchanged, hot),
    "SoftMarginLoss": LossForm(CLASSIFICATION, unchanged, signs),
    "MultiLabelMarginLoss": LossForm(("multiclass", "multilabel"), unchanged, label_lists),
    "MSELoss": LossForm(ANY, unchanged, hot),
    "L1Loss": LossForm(ANY, unchanged, hot),
    "SmoothL1Loss": LossForm(ANY, unchanged, hot),
    "HuberLoss": LossForm(ANY, unchanged, hot),
    "PoissonNLLLoss": LossForm(("regression",), unchanged, hot),
}
"""A loss of torch.nn that is not listed gets outputs and targets as they come, whatever the task."""


class FittedLoss(nn.Module):
    """A loss of torch with its two arguments made the way it wants them."""

    def __init__(self, loss: nn.Module, form: LossForm) -> None:
        super().__init__()
        self.loss = loss
        self.form = form

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (B, K) and targets as the data gives them -> a scalar, in mixed precision of float32."""
        if not torch.is_autocast_enabled(targets.device.type):
            return self._loss(outputs, targets)
        # On CUDA torch refuses BCELoss within mixed precision, lest somebody gives it half the digits.
        with torch.autocast(targets.device.type, enabled=False):
            return self._loss(outputs.float(), targets)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.form.targets is not None:
            targets = self.form.targets(outputs, targets)
        if getattr(self.loss, "log_target", False):
            # The logarithm of 0 is not finite, and the loss multiplies it by 0.
            targets = targets.clamp(min=torch.finfo(targets.dtype).tiny).log()
        loss: Tensor = self.loss(self.form.outputs(outputs), targets)
        return loss
