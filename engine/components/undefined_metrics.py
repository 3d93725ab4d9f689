"""Which metrics the labels of an evaluation leave undefined, such as AUROC where all are of one class.

torchmetrics returns 0 for many of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.outputs import class_count
from torchconsole.engine.components.ranks import Ranks

if TYPE_CHECKING:
    from torchmetrics import Metric

RANKING = ("AUROC", "EER", "LogAUC")
"""Metrics of the order of positive and negative samples. Names that torchmetrics prefixes with the task."""

OF_POSITIVES = ("AveragePrecision", "Recall", "F1Score", "FBetaScore", "JaccardIndex", "MulticlassAccuracy")
"""Metrics that say how well the samples of a class are found, so that there must be some."""

OF_NEGATIVES = ("Specificity",)

AGREEMENT = ("MatthewsCorrCoef", "CohenKappa")
"""Metrics that are 0/0 if all samples are of one class."""

OF_VARIANCE = (
    "R2Score",
    "ExplainedVariance",
    "RelativeSquaredError",
    "PearsonCorrCoef",
    "SpearmanCorrCoef",
    "KendallRankCorrCoef",
)
"""Metrics that divide by the variance of the targets."""

MOST_NAMES = 3
"""Number of classes that a reason names."""


class Labels:
    """Counts the labels of an evaluation, on the device of the targets and without waiting for it."""

    def __init__(self, spec: DataSpec) -> None:
        self._spec = spec
        self._count = 0
        self._positives: Tensor | None = None
        self._least: Tensor | None = None
        self._largest: Tensor | None = None

    def update(self, targets: Tensor) -> None:
        """Add the targets of a batch, in the form that `TaskType` describes."""
        self._count += len(targets)
        if self._spec.task == "regression":
            least, largest = targets.amin(0), targets.amax(0)
            self._least = least if self._least is None else torch.minimum(self._least, least)
            self._largest = largest if self._largest is None else torch.maximum(self._largest, largest)
            return
        if self._spec.task == "multiclass":
            positives = torch.zeros(self._spec.num_outputs, dtype=torch.int64, device=targets.device)
            positives.index_add_(0, targets, torch.ones_like(targets))
        else:
            positives = targets.long().sum(0)
        self._positives = positives if self._positives is None else self._positives + positives

    def merge(self, ranks: Ranks) -> None:
        """Add what the other processes have counted. Waits for the device if there are any."""
        if ranks.is_alone:
            return
        self._count = sum(ranks.gather(self._count))
        self._positives = self._merged(ranks, self._positives, torch.add)
        self._least = self._merged(ranks, self._least, torch.minimum)
        self._largest = self._merged(ranks, self._largest, torch.maximum)

    @staticmethod
    def _merged(
        ranks: Ranks, own: Tensor | None, combine: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor | None:
        found = [each for each in ranks.gather(own if own is None else own.cpu()) if each is not None]
        return functools.reduce(combine, found) if found else None

    @property
    def is_complete(self) -> bool:
        """Whether every class has samples, and others too; in a regression, whether the targets differ."""
        if self._positives is not None:
            return not bool(_out_of_range(self._positives, self._count).any())
        return not self._is_constant

    def undefined_classes(self, metric: Metric) -> list[bool]:
        """Return for each class whether the metric of that class alone is undefined; empty if unknown."""
        if self._positives is None or self._spec.task == "binary":
            return []
        undefined = torch.zeros_like(self._positives, dtype=torch.bool)
        if _is_one_of(metric, (*RANKING, *OF_POSITIVES)):
            undefined |= self._positives == 0
        if _is_one_of(metric, (*RANKING, *OF_NEGATIVES)):
            undefined |= self._positives == self._count
        found: list[bool] = undefined.tolist()
        return found

    def reason(self, metric: Metric) -> str | None:
        """Return why the one value of a metric is undefined; None if it is defined."""
        if self._spec.task == "regression":
            constant = _is_one_of(metric, OF_VARIANCE) and self._is_constant
            return f"all targets of the {self._count:,} samples are equal" if constant else None
        if self._positives is None:
            return "there are no samples"
        if self._spec.task == "binary":
            return self._binary_reason(metric, int(self._positives))
        if _is_one_of(metric, AGREEMENT):
            return self._of_one_class(self._positives) if self._spec.task == "multiclass" else None
        return self._average_reason(metric, self._positives)

    def _average_reason(self, metric: Metric, positives: Tensor) -> str | None:
        """Return why an average over classes is undefined. A weighted one leaves absent classes out."""
        average, count = getattr(metric, "average", None), self._count
        ranking = _is_one_of(metric, RANKING)
        if average == "micro" and ranking:
            count *= len(positives)
            return None if 0 < int(positives.sum()) < count else f"all {count:,} labels are equal"
        if average == "macro" and _is_one_of(metric, (*RANKING, "AveragePrecision")):
            absent = (positives == 0).nonzero().flatten()
            if len(absent):
                return f"none of the {count:,} samples is of class {self._name(absent)}"
        return self._of_one_class(positives) if ranking else None

    def _of_one_class(self, positives: Tensor) -> str | None:
        full = (positives == self._count).nonzero().flatten()
        return self._all_of_class(full) if len(full) else None

    @property
    def _is_constant(self) -> bool:
        if self._least is None or self._largest is None:
            return True
        return bool((self._least == self._largest).any())

    def _binary_reason(self, metric: Metric, positives: int) -> str | None:
        needs_both = _is_one_of(metric, (*RANKING, *AGREEMENT))
        if positives == 0 and (needs_both or _is_one_of(metric, OF_POSITIVES)):
            return self._all_of_class([0])
        if positives == self._count and (needs_both or _is_one_of(metric, OF_NEGATIVES)):
            return self._all_of_class([1])
        return None

    def _all_of_class(self, classes: Tensor | Sequence[int]) -> str:
        who = "the only sample is" if self._count == 1 else f"all {self._count:,} samples are"
        return f"{who} of class {self._name(classes)}"

    def _name(self, classes: Tensor | Sequence[int]) -> str:
        indices = classes.tolist() if isinstance(classes, Tensor) else list(classes)
        known = self._spec.class_names
        names = known if len(known) >= class_count(self._spec) else [str(n) for n in range(max(indices) + 1)]
        more = f" and {len(indices) - MOST_NAMES} others" if len(indices) > MOST_NAMES else ""
        return ", ".join(names[index] for index in indices[:MOST_NAMES]) + more


def _out_of_range(positives: Tensor, count: int) -> Tensor:
    return (positives == 0) | (positives == count)


def _is_one_of(metric: Metric, names: tuple[str, ...]) -> bool:
    """Whether the metric is derived from a class of torchmetrics with one of these names."""
    return any(base.__name__.endswith(names) for base in type(metric).__mro__)
