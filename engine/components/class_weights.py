"""Class weights for a loss, given as a list or taken from how often each class occurs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.instantiate import accepted
from torchconsole.engine.errors import ComponentError

WEIGHTS_OUTPUTS = ("BCELoss", "MultiLabelSoftMarginLoss")
"""Losses whose `weight` scales an output, for samples in and out of its class alike: it balances nothing."""


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
