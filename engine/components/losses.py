"""Losses: any class of torch.nn or from user code, with class weights, and sums of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.instantiate import UserCode, accepted, build, classes_of, find
from torchconsole.engine.components.loss_adapters import LOSS_ADAPTERS, AdaptedLoss, LossAdapter, OwnLoss
from torchconsole.engine.components.outputs import OutputKind
from torchconsole.engine.components.torch_compat import LossBase
from torchconsole.engine.config.schema import LossConfig
from torchconsole.engine.config.user_code import is_user_code
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


PENALTY_KEYS = ("l1", "l2", "l1_parameters", "l2_parameters")

OUTPUT_WEIGHTED_LOSSES = ("BCELoss", "MultiLabelSoftMarginLoss")
"""Losses whose `weight` scales an output for positive and negative samples alike."""


class Loss(nn.Module):
    """The loss of a preset: one loss, or the sum of several, each multiplied by its factor."""

    def __init__(self, losses: Sequence[nn.Module], factors: Sequence[float], outputs: OutputKind) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.factors = list(factors)
        self.outputs = outputs
        """What the model's outputs are."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (B, K) and targets as the data has them -> a scalar."""
        if self.factors == [1.0]:
            loss: Tensor = self.losses[0](outputs, targets)
            return loss
        terms = [
            factor * loss(outputs, targets) for loss, factor in zip(self.losses, self.factors, strict=True)
        ]
        return torch.stack(terms).sum()

    @property
    def has_per_sample(self) -> bool:
        """Whether `per_sample` works: user code gives one loss for a batch."""
        return all(isinstance(loss, AdaptedLoss) for loss in self.losses)

    def per_sample(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (B, K) and targets as the data has them -> the loss of each sample, (B,)."""
        losses = [loss.per_sample(outputs, targets) for loss in self.losses if isinstance(loss, AdaptedLoss)]
        terms = [factor * loss for loss, factor in zip(losses, self.factors, strict=True)]
        return torch.stack(terms).sum(dim=0)


def user_part(loss: nn.Module) -> nn.Module:
    """Return the loss that the preset names, without what adapts it to the data."""
    return loss.loss if isinstance(loss, AdaptedLoss | OwnLoss) else loss


def class_weights(
    section: str,
    factory: Callable[..., Any],
    weight: Literal["balanced"] | list[float],
    spec: DataSpec,
    counts: Tensor | None,
    outputs: int,
) -> dict[str, Tensor]:
    """The class weights as an argument of the loss: `pos_weight` if it has that parameter, else `weight`.

    Balanced `weight` is n / (C * n_c) (King and Zeng 2001; scikit-learn's "balanced"). Balanced `pos_weight`
    is (n - n_c) / n_c, so that positive and negative samples of each output weigh the same. `counts` (C,)
    int64 are the n_c of the training data, `outputs` is the number of outputs that are weighted. Raises
    ComponentError if the loss or the task does not take class weights, or if their number is wrong.
    """
    key = next(iter(accepted(factory, {"pos_weight": None, "weight": None})), None)
    if key is None or spec.task == "regression":
        what = "regression" if spec.task == "regression" else factory.__name__
        raise ComponentError(f"{section}.weight: {what} takes no class weights; remove this key")
    if weight != "balanced":
        return {key: _listed_weights(section, weight, outputs)}
    if counts is None or spec.task == "multilabel":
        raise ComponentError(
            f'{section}.weight: "balanced" needs one class per sample; give a list of weights'
        )
    if key == "weight" and (outputs == 1 or factory.__name__ in OUTPUT_WEIGHTED_LOSSES):
        raise ComponentError(
            f"{section}.weight: {factory.__name__} cannot balance classes; use BCEWithLogitsLoss"
        )
    return {key: _positive_weights(counts, spec) if key == "pos_weight" else _inverse_frequencies(counts)}


def _listed_weights(section: str, weights: list[float], outputs: int) -> Tensor:
    if len(weights) != outputs or min(weights) < 0:
        several = f"{outputs} weights, one for each class"
        wanted = "one weight, for the positive class" if outputs == 1 else several
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


def build_loss(config: LossConfig, spec: DataSpec, class_counts: Tensor | None, user_code: UserCode) -> Loss:
    """Build the loss of a preset as one module: (outputs (B, K), targets) -> scalar.

    `class_counts` (C,) int64 are those of the training data, for balanced weights. A loss of torch gets
    targets in the form that it expects (see `loss_adapters`). Outputs are what the model gives: no loss adds
    an activation.

    Raises:
        ComponentError: for an unknown class or argument, a loss that does not support the data's task, class
            weights that do not match it, or losses that take different outputs.
        TrustError: for user code that is not trusted.
    """
    terms = list(_terms("loss", config))
    built = [_build_term(section, term, spec, class_counts, user_code) for section, term in terms]
    kinds = [kind for _, kind in built]
    for (section, term), kind in zip(terms, kinds, strict=True):
        if kind.form != kinds[0].form:
            raise ComponentError(
                f"{section}.name: {loss_name(term, spec)} takes {_words(kind)}, but "
                f"{loss_name(config, spec)} takes {_words(kinds[0])}; a sum needs losses that take the same "
                f"outputs{_hint_for_sum(section, term, kind, config, kinds[0], spec)}"
            )
    return Loss([loss for loss, _ in built], [term.factor for _, term in terms], kinds[0])


def loss_name(config: LossConfig, spec: DataSpec) -> str:
    """Return the name of the loss, that of the task's default if the preset names none."""
    return DEFAULTS[spec.task] if config.name == "auto" else config.name


def _words(kind: OutputKind) -> str:
    """Return the form of outputs as it is written in texts: log-probabilities."""
    return "logarithms of values" if kind.form == "log_values" else kind.form.replace("_", "-")


def _hint_for_sum(
    section: str, term: LossConfig, kind: OutputKind, first: LossConfig, its: OutputKind, spec: DataSpec
) -> str:
    """Return how two losses could take the same outputs: those of which the preset may say what they take."""
    for key, config, one, other in ((section, term, kind, its), ("loss", first, its, kind)):
        if is_user_code(config.name) and config.outputs is None:
            return f", or say what yours takes with {key}.outputs"
        # A distance takes probabilities as well; see `_output_kind`.
        if one.form == "values" and other.form == "probabilities" and spec.task != "regression":
            return f'; if the model returns probabilities, set {key}.outputs = "probabilities"'
    return ""


def _terms(section: str, config: LossConfig) -> Iterator[tuple[str, LossConfig]]:
    """The loss and the losses that are added to it, each with its key in the preset."""
    yield section, config
    for number, added in enumerate(config.also):
        key = f"{section}.also.{number}"
        for name in PENALTY_KEYS:
            if getattr(added, name):
                raise ComponentError(f"{key}.{name}: a penalty applies to the whole model; set loss.{name}")
        yield from _terms(key, added)


def _build_term(
    section: str, config: LossConfig, spec: DataSpec, counts: Tensor | None, user_code: UserCode
) -> tuple[nn.Module, OutputKind]:
    name = loss_name(config, spec)
    if name in UNSUPPORTED:
        raise ComponentError(f"{section}.name: {name} cannot be used: {UNSUPPORTED[name]}")
    factory = find(section, name, classes_of(nn, LossBase), user_code, nn.Module)
    adapter = LOSS_ADAPTERS.get(name)
    if adapter is not None and spec.task not in adapter.tasks:
        suitable = [other for other, its in LOSS_ADAPTERS.items() if spec.task in its.tasks]
        raise ComponentError(
            f"{section}.name: {name} is for {' or '.join(adapter.tasks)} data, but the data is {spec.task}; "
            f"use {', '.join(suitable[:3])} or another"
        )
    arguments = {key: _as_tensor(section, key, value) for key, value in config.arguments.items()}
    weights: dict[str, Tensor] = {}
    if config.weight is not None:
        outputs = adapter.widths(spec)[0] if adapter is not None else spec.num_outputs
        weights = class_weights(section, factory, config.weight, spec, counts, outputs)
    loss = build(section, factory, nn.Module, weights, arguments)
    if getattr(loss, "reduction", "mean") not in ("mean", "batchmean"):
        # A sum would grow with the batch size, and evaluations weight each batch's mean by its samples.
        raise ComponentError(f"{section}.reduction: training needs the mean over the batch; remove this key")
    kind = _output_kind(section, config, spec, loss, adapter)
    if adapter is None:
        return OwnLoss(section, loss), kind
    weighted = bool(weights) or "pos_weight" in arguments
    return AdaptedLoss(section, loss, adapter, spec, weighted=weighted), kind


def _output_kind(
    section: str, config: LossConfig, spec: DataSpec, loss: nn.Module, adapter: LossAdapter | None
) -> OutputKind:
    """Return what the loss takes: as torch defines it, or as `outputs` says. Raises ComponentError."""
    said = config.outputs
    if spec.task == "regression" and said not in (None, "values"):
        raise ComponentError(
            f"{section}.outputs: the data is regression, so that outputs are values; remove this key"
        )
    if adapter is None:
        return OutputKind(said or ("values" if spec.task == "regression" else "logits"))
    kind = adapter.kind
    if kind.form == "log_values" and not getattr(loss, "log_input", True):
        kind = OutputKind("values")
    # A distance to 0 and 1 works for outputs of a sigmoid or softmax too.
    allowed = (kind.form, "probabilities") if kind.form == "values" else (kind.form,)
    if said is None:
        return kind
    if said not in allowed:
        raise ComponentError(
            f"{section}.outputs: {type(loss).__name__} takes {_words(kind)}; remove this key, which is for "
            "losses of your own"
        )
    return OutputKind(said, kind.independent)


def _as_tensor(section: str, key: str, value: Any) -> Any:
    if key != "pos_weight" or not isinstance(value, list):
        return value
    try:
        return torch.tensor(value, dtype=torch.float32)
    except (TypeError, ValueError) as error:
        raise ComponentError(f"{section}.{key}: must be a list of numbers, got {value}") from error
