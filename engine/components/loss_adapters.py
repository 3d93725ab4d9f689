"""Adapts targets to the losses of torch.nn, and lists the tasks and the outputs that each loss supports.

The data has targets in the form that `TaskType` describes; each loss of torch expects its own form. A model's
outputs are never changed, except that squeezed ones get their second dimension back: a loss takes the logits,
probabilities or log-probabilities that torch's documentation says it takes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.outputs import (
    OutputForm,
    OutputKind,
    as_rows,
    class_count,
    possible_widths,
)
from torchconsole.engine.errors import ComponentError

ONE_CLASS: tuple[TaskType, ...] = ("multiclass", "binary")
CLASSIFICATION: tuple[TaskType, ...] = (*ONE_CLASS, "multilabel")
ANY_TASK: tuple[TaskType, ...] = (*CLASSIFICATION, "regression")


def class_indices(outputs: Tensor, targets: Tensor) -> Tensor:
    """Class indices (B,) int64; probabilities of classes, which mixing batches gives, are unchanged."""
    return targets.flatten().long() if targets.ndim == 2 and targets.shape[1] == 1 else targets


def match_shape(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets in the shape of the outputs (B, K): class indices (B,) become one-hot, or 0 and 1 if K is 1.

    Raises ValueError if the shapes still differ: torch would broadcast (B, 1) against (B,) to (B, B).
    """
    if outputs.shape[1] == 1 and targets.shape[1:] != (1,):
        targets = targets.unsqueeze(1) if targets.ndim == 1 else targets[:, 1:]
    elif not targets.is_floating_point():
        targets = F.one_hot(targets, outputs.shape[1])
    if targets.shape != outputs.shape:
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)} do not match targets of shape {tuple(targets.shape)}"
        )
    return targets if targets.is_floating_point() else targets.to(outputs.dtype)


def plus_minus_one(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets in the shape of the outputs with the values -1 and 1 instead of 0 and 1."""
    return 2 * match_shape(outputs, targets) - 1


def label_indices(outputs: Tensor, targets: Tensor) -> Tensor:
    """The indices of each sample's labels, (B, L) int64, padded with -1 at the end."""
    ranked = match_shape(outputs, targets).sort(dim=1, descending=True, stable=True)
    return torch.where(ranked.values > 0.5, ranked.indices, -1)


@dataclass(frozen=True)
class LossAdapter:
    """What a loss of torch takes: the tasks, the form of the outputs, and how its targets are prepared."""

    tasks: tuple[TaskType, ...]
    outputs: OutputForm
    targets: Callable[[Tensor, Tensor], Tensor]

    @property
    def is_elementwise(self) -> bool:
        """Whether the loss compares each output with a target of its own."""
        return self.targets in (match_shape, plus_minus_one) and self.outputs != "log_probabilities"

    @property
    def kind(self) -> OutputKind:
        """The kind of outputs that the loss takes."""
        return OutputKind(self.outputs, independent=self.is_elementwise)

    def widths(self, spec: DataSpec) -> tuple[int, ...]:
        """Return the numbers of outputs with which the loss works on this data."""
        if spec.task in ONE_CLASS and not self.is_elementwise:
            return (class_count(spec),)
        return (1,) if spec.task == "binary" else possible_widths(spec)


LOSS_ADAPTERS: dict[str, LossAdapter] = {
    "CrossEntropyLoss": LossAdapter(ONE_CLASS, "logits", class_indices),
    "MultiMarginLoss": LossAdapter(ONE_CLASS, "logits", class_indices),
    "NLLLoss": LossAdapter(ONE_CLASS, "log_probabilities", class_indices),
    "KLDivLoss": LossAdapter(("multiclass",), "log_probabilities", match_shape),
    "BCEWithLogitsLoss": LossAdapter(CLASSIFICATION, "logits", match_shape),
    "BCELoss": LossAdapter(CLASSIFICATION, "probabilities", match_shape),
    "MultiLabelSoftMarginLoss": LossAdapter(CLASSIFICATION, "logits", match_shape),
    "SoftMarginLoss": LossAdapter(CLASSIFICATION, "logits", plus_minus_one),
    "MultiLabelMarginLoss": LossAdapter(("multiclass", "multilabel"), "logits", label_indices),
    "MSELoss": LossAdapter(ANY_TASK, "values", match_shape),
    "L1Loss": LossAdapter(ANY_TASK, "values", match_shape),
    "SmoothL1Loss": LossAdapter(ANY_TASK, "values", match_shape),
    "HuberLoss": LossAdapter(ANY_TASK, "values", match_shape),
    "PoissonNLLLoss": LossAdapter(("regression",), "log_values", match_shape),
}
"""By name. A loss of torch.nn that is not listed gets outputs and targets unchanged, for any task."""


class AdaptedLoss(nn.Module):
    """A loss of torch whose targets are prepared by a `LossAdapter`."""

    def __init__(
        self, section: str, loss: nn.Module, adapter: LossAdapter, spec: DataSpec, *, weighted: bool = False
    ) -> None:
        super().__init__()
        self.loss = loss
        self._section = section
        self._adapter = adapter
        self._spec = spec
        # Torch would broadcast the weights of two classes over one output.
        self._widths = (spec.num_outputs,) if weighted and adapter.is_elementwise else adapter.widths(spec)
        self._is_tried = False

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (B, K), or (B,) if K is 1, and targets as the data has them -> a scalar.

        It is computed in float32 under autocast. Raises ComponentError for outputs that do not fit the loss,
        and what `as_rows` raises.
        """
        return self._computed(self.loss, outputs, targets)

    def per_sample(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Like `forward`, but return the loss of each sample, (B,), whose mean is the loss of the batch.

        Class weights of CrossEntropyLoss and NLLLoss multiply the losses, which are not divided by their sum.
        """
        unreduced = copy.copy(self.loss)
        unreduced.reduction = "none"  # type: ignore[assignment]
        losses = self._computed(unreduced, outputs, targets).reshape(len(targets), -1)
        return losses.sum(dim=1) if self.loss.reduction == "batchmean" else losses.mean(dim=1)

    def sum_and_weight(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | int]:
        """Return the loss of a batch times its weight, (), and the weight; it stays on the device.

        The weight is what torch divides by: the samples, or the sum of their weights by class, in which
        ignored ones count for nothing.
        """
        if not isinstance(self.loss, nn.CrossEntropyLoss | nn.NLLLoss) or _counts_all_alike(self.loss):
            return self.forward(outputs, targets) * len(targets), len(targets)
        summed = copy.copy(self.loss)
        summed.reduction = "sum"
        total = self._computed(summed, outputs, targets)
        classes = class_indices(outputs, targets)
        if classes.is_floating_point():  # probabilities of classes
            return total, len(targets)
        weights = self.loss.weight
        if weights is None:
            weights = torch.ones(outputs.shape[1], device=targets.device)
        return total, (weights[classes] * (classes != self.loss.ignore_index)).sum()

    def _computed(self, loss: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return what `loss`, this one or a copy without reduction, gives for the outputs."""
        rows = as_rows(outputs, self._spec, len(targets), possible_widths(self._spec))
        if rows.shape[1] not in self._widths:
            self._raise_wrong_width(rows.shape[1])
        if not torch.is_autocast_enabled(targets.device.type):
            return self._loss(loss, rows, targets)
        # On CUDA torch refuses BCELoss under autocast, because half precision is unsafe for it.
        with torch.autocast(targets.device.type, enabled=False):
            return self._loss(loss, rows.float(), targets)

    def _loss(self, loss: nn.Module, rows: Tensor, targets: Tensor) -> Tensor:
        targets = self._adapter.targets(rows, targets)
        if getattr(loss, "log_target", False):
            # log(0) is infinite, and the loss would multiply it by 0.
            targets = targets.clamp(min=torch.finfo(targets.dtype).tiny).log()
        if isinstance(loss, nn.BCELoss):
            return self._binary_cross_entropy(loss, rows, targets)
        found: Tensor = loss(rows, targets)
        return found

    def _binary_cross_entropy(self, loss: nn.Module, rows: Tensor, targets: Tensor) -> Tensor:
        """Compute BCELoss, as nan for outputs that are no probabilities.

        For such outputs torch raises an error that does not say what to do, and ends the process on CUDA.
        Finite ones are refused where that needs no wait for the device: on the CPU and in the first call.
        """
        valid = (rows >= 0) & (rows <= 1)
        if (rows.device.type == "cpu" or not self._is_tried) and not valid.all():
            self._refuse_outside(rows.detach())
        self._is_tried = True
        found: Tensor = loss(torch.where(valid, rows, 0.5), targets)
        return torch.where(valid if found.ndim else valid.all(), found, torch.nan)

    def _refuse_outside(self, rows: Tensor) -> None:
        if not rows.isfinite().all():
            return
        low, high = rows.aminmax()
        raise ComponentError(
            f"{self._section}.name: BCELoss takes probabilities from 0 to 1, but the model's outputs are "
            f"from {low.item():.3g} to {high.item():.3g}; end the model with a sigmoid, or for raw outputs "
            f'(logits) set {self._section}.name = "BCEWithLogitsLoss"'
        )

    def _raise_wrong_width(self, width: int) -> None:
        name, wanted = type(self.loss).__name__, self._widths[0]
        if wanted == 1:
            advice = "use CrossEntropyLoss for two outputs, or one output"
        elif self._adapter.is_elementwise:
            advice = 'to weight the positive class of one output set data.task = "binary"'
        else:
            advice = "use BCEWithLogitsLoss for one output, or two outputs (often model.num_classes = 2)"
        plural = "s" if wanted > 1 else ""
        raise ComponentError(
            f"{self._section}.name: {name} needs {wanted} output{plural} for each sample of two classes, but "
            f"the model has {width}; {advice}"
        )


def _counts_all_alike(loss: nn.CrossEntropyLoss | nn.NLLLoss) -> bool:
    return loss.weight is None and loss.ignore_index < 0


class OwnLoss(nn.Module):
    """A loss from user code, or one of torch without an adapter."""

    def __init__(self, section: str, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self._section = section

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs as the model gives them, and targets as the data has them -> a scalar.

        Targets (B, 1) become (B,) for outputs (B,): the loss would compare each sample with all others.
        """
        if isinstance(outputs, Tensor) and outputs.ndim < targets.ndim == 2 and targets.shape[1] == 1:
            targets = targets.reshape(outputs.shape) if outputs.numel() == targets.numel() else targets
        loss = self.loss(outputs, targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise ComponentError(
                f"{self._section}.name: the loss must return one number as a tensor, but it returned {got}; "
                "return the mean over the batch, for example loss.mean()"
            )
        return loss.reshape(())
