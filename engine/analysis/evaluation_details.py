"""What an evaluation tells besides its metrics: each class, confusions, calibration, the worst samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.losses import Loss
from torchconsole.engine.components.outputs import as_predictions
from torchconsole.engine.components.torchvision_compat import prepare_torchvision
from torchconsole.engine.components.worst_samples import WorstSamples, why_no_worst_samples
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.model_reports import Calibration, ClassFigures, Confusion

BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""


class EvaluationDetails:
    """Collects the predictions of an evaluation; they stay on the device until `facts`."""

    def __init__(self, loss_fn: Loss, spec: DataSpec, worst: int) -> None:
        self._loss_fn = loss_fn
        self._spec = spec
        self._why_no_worst = why_no_worst_samples(loss_fn)
        self._worst = None if self._why_no_worst else WorstSamples(worst, loss_fn, spec)
        self._why_no_classes = "the targets are numbers" if spec.task == "regression" else ""
        self._true: list[Tensor] = []
        self._predicted: list[Tensor] = []
        self._confidences: list[Tensor] = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch: the outputs of the model, and targets in the form that `TaskType` describes."""
        if self._worst is not None:
            self._worst.update(outputs, targets)
        if self._why_no_classes:
            return
        try:
            found, true = as_predictions(outputs, targets, self._spec, self._loss_fn.outputs)
        except (ComponentError, TypeError, ValueError) as error:
            # A loss of the user's own may take outputs that are not one row of numbers for each sample.
            self._why_no_classes = f"classes cannot be read from the model's outputs: {error}"
            return
        self._true.append(true)
        if self._spec.task == "multilabel":
            self._predicted.append(found > 0.5)
            return
        probabilities = torch.stack([1 - found, found], dim=1) if found.ndim == 1 else found
        best = probabilities.max(dim=1)
        self._predicted.append(best.indices)
        self._confidences.append(best.values)

    def facts(self, place: Callable[[int], str]) -> dict[str, Any]:
        """Return these fields of an `EvaluationReport`; `place` tells where sample n comes from."""
        missing = {}
        if self._worst is None:
            missing["worst"] = self._why_no_worst
        facts: dict[str, Any] = {
            "worst": self._worst.result(place) if self._worst else [],
            "missing": missing,
        }
        if self._why_no_classes:
            missing |= dict.fromkeys(("per_class", "confusions", "calibration"), self._why_no_classes)
            return facts
        true, predicted = torch.cat(self._true).cpu().numpy(), torch.cat(self._predicted).cpu().numpy()
        facts["per_class"] = class_figures(true, predicted, self._spec.class_names)
        if self._spec.task == "multilabel":
            missing |= dict.fromkeys(("confusions", "calibration"), "a sample may have several labels")
            return facts
        facts["confusions"] = confused_pairs(true, predicted, self._spec.class_names)
        if self._loss_fn.outputs.form == "values":
            missing["calibration"] = "the outputs are not probabilities"
            return facts
        confidences = torch.cat(self._confidences).cpu()
        if confidences.isfinite().all():
            facts["calibration"] = calibration(confidences, torch.tensor(true == predicted))
        else:
            missing["calibration"] = "some of the model's outputs are not finite"
        return facts


def class_figures(true: np.ndarray, predicted: np.ndarray, names: list[str]) -> list[ClassFigures]:
    """Return the figures of each class from labels (N,), or of each label from zeros and ones (N, L)."""
    from sklearn.metrics import precision_recall_fscore_support

    labels = np.arange(len(names))
    precision, recall, f1, samples = precision_recall_fscore_support(
        true, predicted, labels=labels, average=None, zero_division=np.nan
    )
    chosen = predicted.sum(axis=0) if predicted.ndim == 2 else np.bincount(predicted, minlength=len(names))
    return [
        ClassFigures(
            name=name,
            samples=int(samples[index]),
            predicted=int(chosen[index]),
            precision=_number(precision[index]),
            recall=_number(recall[index]),
            f1=_number(f1[index]),
        )
        for index, name in enumerate(names)
    ]


def confused_pairs(true: np.ndarray, predicted: np.ndarray, names: list[str]) -> list[Confusion]:
    """Return the pairs of classes that are confused in labels (N,), the one with the most samples first."""
    wrong = true != predicted
    pairs, counts = np.unique(np.stack([true[wrong], predicted[wrong]]), axis=1, return_counts=True)
    totals = np.bincount(true, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    return [
        Confusion(
            true=names[label],
            predicted=names[other],
            samples=int(count),
            share=float(count / totals[label]),
        )
        for label, other, count in zip(*pairs[:, order], counts[order], strict=True)
    ]


def calibration(confidences: Tensor, correct: Tensor) -> Calibration:
    """Return the calibration of predictions from confidences (N,) and whether they are right, (N,) bool."""
    prepare_torchvision()
    from torchmetrics.functional.classification import binary_calibration_error

    # torchmetrics would put a confidence of exactly 1 into a bin of its own.
    within = confidences.double().clamp(max=1 - 2**-53)
    return Calibration(
        error=float(binary_calibration_error(within, correct.long(), n_bins=BINS, norm="l1")),
        bins=BINS,
        confidence=float(confidences.double().mean()),
        accuracy=float(correct.double().mean()),
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
