"""Losses: any class of torch.nn or the user's own, class weights, several added up, and penalties."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.instantiate import UserCode, accepted, build, classes_of, find
from torchconsole.engine.components.loss_forms import FORMS, FittedLoss, LossForm
from torchconsole.engine.components.parameters import norms_and_biases
from torchconsole.engine.config.schema import LossConfig
from torchconsole.engine.errors import ComponentError

DEFAULTS: dict[TaskType, str] = {
    "multiclass": "CrossEntropyLoss",
    "binary": "BCEWithLogitsLoss",
    "multilabel": "BCEWithLogitsLoss",
    "regression": "MSELoss",
}

UNSUPPORTED = {
    "AdaptiveLogSoftmaxWithLoss": "it is a layer with weights of its own; use CrossEntropyLoss",
    "CTCLoss": "it also wants the lengths of inputs and targets",
    "CosineEmbeddingLoss": "it compares two inputs",
    "GaussianNLLLoss": "it also wants a variance for each output; use MSELoss",
    "HingeEmbeddingLoss": "it takes the distance of two inputs, and has no minimum on a model's raw outputs",
    "LinearCrossEntropyLoss": "it is a layer with weights of its own; use CrossEntropyLoss",
    "MarginRankingLoss": "it ranks two inputs",
    "NLLLoss2d": "torch has deprecated it; use NLLLoss",
    "TripletMarginLoss": "it compares three inputs",
    "TripletMarginWithDistanceLoss": "it compares three inputs",
}
"""Losses of torch.nn that cannot work on a model's outputs and the data's targets, and why."""


WEIGHTS_OUTPUTS = ("BCELoss", "MultiLabelSoftMarginLoss")
"""Losses whose `weight` scales an output, for samples in and out of its class alike: it balances nothing."""


class WeightedSum(nn.Module):
    """Several losses, each times its factor, added up."""

    def __init__(self, losses: Sequence[nn.Module], factors: Sequence[float]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.factors = list(factors)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (B, K) and targets as the data gives them -> a scalar."""
        parts = [
            factor * loss(outputs, targets) for loss, factor in zip(self.losses, self.factors, strict=True)
        ]
        return torch.stack(parts).sum()


class Penalty:
    """`l1` times the sum of |w| plus `l2` times half the sum of w^2, over the weights that are trained.

    Biases and norm layers are spared (see `norms_and_biases`).
    """

    def __init__(self, model: nn.Module, l1: float, l2: float) -> None:
        spared = norms_and_biases(model)
        self._weights = [weight for name, weight in model.named_parameters() if name not in spared]
        self._l1 = l1
        self._l2 = l2

    def __call__(self) -> Tensor:
        """A scalar to add to the training loss before the backward pass."""
        total = torch.zeros((), device=self._weights[0].device if self._weights else None)
        for weight in self._weights:
            if weight.requires_grad and self._l1:
                total = total + self._l1 * weight.abs().sum()
            if weight.requires_grad and self._l2:
                total = total + 0.5 * self._l2 * weight.square().sum()
        return total


def class_weights(
    section: str,
    factory: Callable[..., Any],
    weight: Literal["balanced"] | list[float],
    spec: DataSpec,
    counts: Tensor | None,
) -> dict[str, Tensor]:
    """The argument by which a loss takes class weights: `pos_weight` where it has one, else `weight`.

    Balanced: `weight` is n / (C * n_c) (King and Zeng 2001, scikit-learn's "balanced"); `pos_weight` is
    (n - n_c) / n_c, so that both sides of each output weigh the same. `counts` (C,) int64 are the n_c of the
    training part. Raises ComponentError where the loss or the task has no use for them, or their number is
    wrong.
    """
    key = next(iter(accepted(factory, {"pos_weight": None, "weight": None})), None)
    if key is None or spec.task == "regression":
        what = "regression" if spec.task == "regression" else "this loss"
        raise ComponentError(f"{section}.weight: {what} has no class weights, leave it out")
    if weight != "balanced":
        return {key: _given(section, weight, spec)}
    if counts is None or spec.task == "multilabel":
        raise ComponentError(f"{section}.weight: balanced needs one class for each sample, give a list")
    if key == "weight" and (spec.task == "binary" or factory.__name__ in WEIGHTS_OUTPUTS):
        raise ComponentError(f"{section}.weight: this loss cannot balance classes, use BCEWithLogitsLoss")
    return {key: _odds(counts, spec) if key == "pos_weight" else _inverse_frequencies(counts)}


def _given(section: str, weights: list[float], spec: DataSpec) -> Tensor:
    if len(weights) != spec.num_outputs or min(weights) < 0:
        whose = "the positive class" if spec.task == "binary" else f"each of the {spec.num_outputs} classes"
        raise ComponentError(
            f"{section}.weight: give a list with a weight for {whose}, none negative, got {weights}"
        )
    if not sum(weights):
        raise ComponentError(f"{section}.weight: with 0 for every class there is nothing to learn")
    return torch.tensor(weights, dtype=torch.float32)


def _inverse_frequencies(counts: Tensor) -> Tensor:
    # A class that the training part lacks would get an infinite weight, which makes validation infinite.
    return counts.sum() / (len(counts) * counts.clamp(min=1)).float()


def _odds(counts: Tensor, spec: DataSpec) -> Tensor:
    odds = (counts.sum() - counts) / counts.clamp(min=1).float()
    return odds[1:] if spec.task == "binary" else odds


def build_loss(config: LossConfig, spec: DataSpec, class_counts: Tensor | None, own: UserCode) -> nn.Module:
    """The loss of a preset as one module: (outputs (B, K), targets) -> scalar.

    `class_counts` (C,) int64 are the training part's, for balanced weights. A loss of torch gets outputs and
    targets in the form that it wants (see `loss_forms`), the user's own gets them as they come. Raises
    ComponentError for an unknown class or argument, a loss that is not for the data's task, and weights that
    do not fit it; TrustError for code that the user has not agreed to.
    """
    parts = list(_parts("loss", config))
    losses = [_build_one(section, part, spec, class_counts, own) for section, part in parts]
    factors = [part.factor for _, part in parts]
    return losses[0] if factors == [1.0] else WeightedSum(losses, factors)


def _parts(section: str, config: LossConfig) -> Iterator[tuple[str, LossConfig]]:
    """The loss and those that are added to it, each with the key it stands at."""
    yield section, config
    for number, further in enumerate(config.also):
        key = f"{section}.also.{number}"
        for name in ("l1", "l2"):
            if getattr(further, name):
                raise ComponentError(f"{key}.{name}: penalties belong to the whole model: set loss.{name}")
        yield from _parts(key, further)


def _build_one(
    section: str, config: LossConfig, spec: DataSpec, counts: Tensor | None, own: UserCode
) -> nn.Module:
    name = DEFAULTS[spec.task] if config.name == "auto" else config.name
    if name in UNSUPPORTED:
        raise ComponentError(f"{section}.name: {name} cannot be used: {UNSUPPORTED[name]}")
    factory = find(section, name, classes_of(nn, _Loss), own, nn.Module)
    form = FORMS.get(name, LossForm())
    if spec.task not in form.tasks:
        fitting = [other for other, its in FORMS.items() if spec.task in its.tasks]
        raise ComponentError(
            f"{section}.name: {name} is for {' and '.join(form.tasks)} data, and this is {spec.task}: "
            f"use {', '.join(fitting[:3])} or another"
        )
    arguments = {key: _as_tensor(section, key, value) for key, value in config.arguments.items()}
    weights = (
        class_weights(section, factory, config.weight, spec, counts) if config.weight is not None else {}
    )
    loss = build(section, factory, nn.Module, weights, arguments)
    if getattr(loss, "reduction", "mean") not in ("mean", "batchmean"):
        # A sum would grow with the batch, and evaluations weight each batch's mean by its samples.
        raise ComponentError(f"{section}.reduction: training needs the mean over a batch: leave it out")
    return loss if form.is_plain else FittedLoss(loss, form)


def _as_tensor(section: str, key: str, value: Any) -> Any:
    if key != "pos_weight" or not isinstance(value, list):
        return value
    try:
        return torch.tensor(value, dtype=torch.float32)
    except (TypeError, ValueError) as error:
        raise ComponentError(f"{section}.{key}: must be a list of numbers, got {value}") from error
