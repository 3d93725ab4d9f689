"""Losses: any class of torch.nn or from user code, with class weights, weighted sums and penalties."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.instantiate import UserCode, accepted, build, classes_of, find
from torchconsole.engine.components.loss_adapters import LOSS_ADAPTERS, AdaptedLoss, LossAdapter
from torchconsole.engine.components.parameters import norm_and_bias_names
from torchconsole.engine.components.torch_compat import LossBase
from torchconsole.engine.config.schema import LossConfig
from torchconsole.engine.errors import ComponentError

DEFAULTS: dict[TaskType, str] = {
    "multiclass": "CrossEntropyLoss",
    "binary": "BCEWithLogitsLoss",
    "multilabel": "BCEWithLogitsLoss",
    "regression": "MSELoss",
}

UNSUPPORTED = {
    "AdaptiveLogSoftmaxWithLoss": "it is a layer with its own weights; use CrossEntropyLoss",
    "CTCLoss": "it also needs the lengths of inputs and targets",
    "CosineEmbeddingLoss": "it compares two inputs",
    "GaussianNLLLoss": "it also needs a variance for each output; use MSELoss",
    "HingeEmbeddingLoss": "it takes the distance of two inputs and has no minimum on a model's raw outputs",
    "LinearCrossEntropyLoss": "it is a layer with its own weights; use CrossEntropyLoss",
    "MarginRankingLoss": "it ranks two inputs",
    "NLLLoss2d": "it is deprecated in torch; use NLLLoss",
    "TripletMarginLoss": "it compares three inputs",
    "TripletMarginWithDistanceLoss": "it compares three inputs",
}
"""Losses of torch.nn that do not work with one output and one target, and why."""


OUTPUT_WEIGHTED_LOSSES = ("BCELoss", "MultiLabelSoftMarginLoss")
"""Losses whose `weight` scales an output for positive and negative samples alike."""


class WeightedSum(nn.Module):
    """The sum of several losses, each multiplied by its factor."""

    def __init__(self, losses: Sequence[nn.Module], factors: Sequence[float]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.factors = list(factors)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (B, K) and targets as the data has them -> a scalar."""
        terms = [
            factor * loss(outputs, targets) for loss, factor in zip(self.losses, self.factors, strict=True)
        ]
        return torch.stack(terms).sum()


class Penalty:
    """L1 and L2 penalty: `l1` times the sum of |w| plus `l2` / 2 times the sum of w^2, over trained weights.

    Biases and norm layers are excluded (see `norm_and_bias_names`).
    """

    def __init__(self, model: nn.Module, l1: float, l2: float) -> None:
        excluded = norm_and_bias_names(model)
        self._weights = [weight for name, weight in model.named_parameters() if name not in excluded]
        self._l1 = l1
        self._l2 = l2

    def __call__(self) -> Tensor:
        """The penalty as a scalar, to add to the training loss before the backward pass."""
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
    """The class weights as an argument of the loss: `pos_weight` if it has that parameter, else `weight`.

    Balanced `weight` is n / (C * n_c) (King and Zeng 2001; scikit-learn's "balanced"). Balanced `pos_weight`
    is (n - n_c) / n_c, so that positive and negative samples of each output weigh the same. `counts` (C,)
    int64 are the n_c of the training data. Raises ComponentError if the loss or the task does not take class
    weights, or if their number is wrong.
    """
    key = next(iter(accepted(factory, {"pos_weight": None, "weight": None})), None)
    if key is None or spec.task == "regression":
        what = "regression" if spec.task == "regression" else factory.__name__
        raise ComponentError(f"{section}.weight: {what} takes no class weights; remove this key")
    if weight != "balanced":
        return {key: _listed_weights(section, weight, spec)}
    if counts is None or spec.task == "multilabel":
        raise ComponentError(
            f'{section}.weight: "balanced" needs one class per sample; give a list of weights'
        )
    if key == "weight" and (spec.task == "binary" or factory.__name__ in OUTPUT_WEIGHTED_LOSSES):
        raise ComponentError(
            f"{section}.weight: {factory.__name__} cannot balance classes; use BCEWithLogitsLoss"
        )
    return {key: _positive_weights(counts, spec) if key == "pos_weight" else _inverse_frequencies(counts)}


def _listed_weights(section: str, weights: list[float], spec: DataSpec) -> Tensor:
    if len(weights) != spec.num_outputs or min(weights) < 0:
        several = f"{spec.num_outputs} weights, one for each class"
        wanted = "one weight, for the positive class" if spec.task == "binary" else several
        raise ComponentError(f"{section}.weight: must be a list of {wanted}, none negative, got {weights}")
    if not sum(weights):
        raise ComponentError(f"{section}.weight: at least one class must have a weight above 0")
    return torch.tensor(weights, dtype=torch.float32)


def _inverse_frequencies(counts: Tensor) -> Tensor:
    # A class without training samples would get an infinite weight and make the validation loss infinite.
    return counts.sum() / (len(counts) * counts.clamp(min=1)).float()


def _positive_weights(counts: Tensor, spec: DataSpec) -> Tensor:
    weights = (counts.sum() - counts) / counts.clamp(min=1).float()
    return weights[1:] if spec.task == "binary" else weights


def build_loss(
    config: LossConfig, spec: DataSpec, class_counts: Tensor | None, user_code: UserCode
) -> nn.Module:
    """Build the loss of a preset as one module: (outputs (B, K), targets) -> scalar.

    `class_counts` (C,) int64 are those of the training data, for balanced weights. A loss of torch gets
    outputs and targets in the form that it expects (see `loss_adapters`), a loss from user code gets them
    unchanged.

    Raises:
        ComponentError: for an unknown class or argument, a loss that does not support the data's task, or
            class weights that do not match it.
        TrustError: for user code that is not trusted.
    """
    terms = list(_terms("loss", config))
    losses = [_build_term(section, term, spec, class_counts, user_code) for section, term in terms]
    factors = [term.factor for _, term in terms]
    return losses[0] if factors == [1.0] else WeightedSum(losses, factors)


def _terms(section: str, config: LossConfig) -> Iterator[tuple[str, LossConfig]]:
    """The loss and the losses that are added to it, each with its key in the preset."""
    yield section, config
    for number, added in enumerate(config.also):
        key = f"{section}.also.{number}"
        for name in ("l1", "l2"):
            if getattr(added, name):
                raise ComponentError(f"{key}.{name}: a penalty applies to the whole model; set loss.{name}")
        yield from _terms(key, added)


def _build_term(
    section: str, config: LossConfig, spec: DataSpec, counts: Tensor | None, user_code: UserCode
) -> nn.Module:
    name = DEFAULTS[spec.task] if config.name == "auto" else config.name
    if name in UNSUPPORTED:
        raise ComponentError(f"{section}.name: {name} cannot be used: {UNSUPPORTED[name]}")
    factory = find(section, name, classes_of(nn, LossBase), user_code, nn.Module)
    adapter = LOSS_ADAPTERS.get(name, LossAdapter())
    if spec.task not in adapter.tasks:
        suitable = [other for other, its in LOSS_ADAPTERS.items() if spec.task in its.tasks]
        raise ComponentError(
            f"{section}.name: {name} is for {' and '.join(adapter.tasks)} data, but the data is {spec.task}; "
            f"use {', '.join(suitable[:3])} or another"
        )
    arguments = {key: _as_tensor(section, key, value) for key, value in config.arguments.items()}
    weights = (
        class_weights(section, factory, config.weight, spec, counts) if config.weight is not None else {}
    )
    loss = build(section, factory, nn.Module, weights, arguments)
    if getattr(loss, "reduction", "mean") not in ("mean", "batchmean"):
        # A sum would grow with the batch size, and evaluations weight each batch's mean by its samples.
        raise ComponentError(f"{section}.reduction: training needs the mean over the batch; remove this key")
    return loss if adapter.is_identity else AdaptedLoss(loss, adapter)


def _as_tensor(section: str, key: str, value: Any) -> Any:
    if key != "pos_weight" or not isinstance(value, list):
        return value
    try:
        return torch.tensor(value, dtype=torch.float32)
    except (TypeError, ValueError) as error:
        raise ComponentError(f"{section}.{key}: must be a list of numbers, got {value}") from error
