"""Metrics of an evaluation: the defaults of the task, any class of torchmetrics, or user code."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.instantiate import UserCode, accepted, build, classes_of, find
from torchconsole.engine.components.torchvision_compat import prepare_torchvision
from torchconsole.engine.config.schema import MetricConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.info import ConfusionMatrix
from torchconsole.engine.text import first_line

if TYPE_CHECKING:
    from torchmetrics import Metric

PREFIX = "val/"
MAX_MATRIX_CLASSES = 100
"""Evaluations with more classes are reported without a confusion matrix: 10,000 numbers are 25 kB of JSON."""

FAMILIES: dict[str, TaskType] = {
    "Binary": "binary",
    "Multiclass": "multiclass",
    "Multilabel": "multilabel",
}
"""Prefixes in torchmetrics of the names of metrics for a single task."""


def default_metrics(spec: DataSpec) -> list[MetricConfig]:
    """Return the metrics for the data's task, used if the preset names none."""
    accuracy = _config("Accuracy", "accuracy")
    f1 = _config("F1Score", "f1", average="macro")
    if spec.task == "regression":
        return [
            _config("MeanAbsoluteError", "mae"),
            _config("MeanSquaredError", "mse"),
            _config("R2Score", "r2"),
        ]
    if spec.task == "multilabel":
        return [accuracy, f1]
    confusion = _config("ConfusionMatrix", "confusion_matrix")
    if spec.task == "binary":
        return [accuracy, _config("F1Score", "f1"), _config("AUROC", "auroc"), confusion]
    top5 = [_config("Accuracy", "top5_accuracy", top_k=5)] if spec.num_outputs > 5 else []
    return [accuracy, *top5, f1, confusion]


def known_metrics() -> dict[str, type[Metric]]:
    """Return the metrics that a preset can name: those of torchmetrics for classification and regression."""
    prepare_torchvision()
    from torchmetrics import Metric, classification, regression

    return {**classes_of(classification, Metric), **classes_of(regression, Metric)}  # type: ignore[type-abstract]


def build_metrics(
    configs: Sequence[MetricConfig] | None, spec: DataSpec, device: torch.device, user_code: UserCode
) -> MetricSet:
    """Build a preset's metrics on `device`; those of the task if `configs` is None.

    torchmetrics' arguments task, num_classes and num_labels are filled in from the data. Each metric is first
    tried on example outputs.

    Raises:
        ComponentError: for an unknown name or argument, a metric that does not support the task, and one that
            does not return numbers.
        TrustError: for user code that is not trusted.
    """
    prepare_torchvision()
    metrics: dict[str, Metric] = {}
    for number, config in enumerate(default_metrics(spec) if configs is None else configs):
        section = f"metrics.{number}"
        key = PREFIX + (config.key or snake_case(config.name.rpartition(":")[2]))
        if key in metrics or key == "val/loss":
            raise ComponentError(f"{section}.key: there is already a metric {key}; set another key")
        metrics[key] = _build_one(section, config, spec, user_code).to(device)
    return MetricSet(metrics, spec)


class MetricSet:
    """Computes metrics over the batches since the last reset."""

    def __init__(self, metrics: Mapping[str, Metric], spec: DataSpec) -> None:
        self._metrics = dict(metrics)
        self._spec = spec

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch: the model's raw outputs (B, K), and targets in the form that `TaskType` describes."""
        predictions, labels = as_predictions(outputs, targets, self._spec.task)
        for metric in self._metrics.values():
            metric.update(predictions, labels)

    def compute(self) -> dict[str, float]:
        """Return the values by name, such as val/accuracy; a value per class as val/recall/<class>."""
        values = {}
        for key, metric in self._metrics.items():
            value = metric.compute()
            if value.ndim == 0:
                values[key] = float(value)
            elif value.ndim == 1:
                names = self._class_names(len(value))
                values |= {f"{key}/{name}": x for name, x in zip(names, value.tolist(), strict=True)}
        return values

    def tables(self) -> dict[str, list[list[float]]]:
        """Return the metrics that are tables, such as the confusion matrix with a row for each true class."""
        values = {key: metric.compute() for key, metric in self._metrics.items()}
        return {key: value.tolist() for key, value in values.items() if value.ndim == 2}

    def confusion_matrix(self) -> ConfusionMatrix | None:
        """Return the first square table; None if there is none or it exceeds `MAX_MATRIX_CLASSES`."""
        for metric in self._metrics.values():
            table = metric.compute()
            if table.ndim == 2 and table.shape[0] == table.shape[1] <= MAX_MATRIX_CLASSES:
                return ConfusionMatrix(classes=self._class_names(len(table)), counts=table.tolist())
        return None

    def singly(self) -> Iterator[tuple[str, MetricSet]]:
        """Yield each metric as a set of its own, with its name, to find out which one fails."""
        for key, metric in self._metrics.items():
            alone = copy.copy(self)
            alone._metrics = {key: metric}
            yield key, alone

    def reset(self) -> None:
        """Remove all batches."""
        for metric in self._metrics.values():
            metric.reset()

    def higher_is_better(self, name: str) -> bool | None:
        """Whether higher values of the metric `name` are better; None if torchmetrics does not define it."""
        for key, metric in self._metrics.items():
            if name == key or name.startswith(f"{key}/"):
                return metric.higher_is_better
        return None

    def names(self, device: torch.device) -> list[str]:
        """Return the names that `compute` will return, by a trial on `device`; this resets the metrics."""
        outputs, targets = _example_batch(self._spec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.update(outputs.to(device), targets.to(device))
            names = list(self.compute())
        self.reset()
        return names

    def _class_names(self, count: int) -> list[str]:
        known = self._spec.class_names
        return known if len(known) == count else [str(index) for index in range(count)]


def as_predictions(outputs: Tensor, targets: Tensor, task: TaskType) -> tuple[Tensor, Tensor]:
    """Convert outputs and targets for torchmetrics: to probabilities and int64 labels, or to numbers.

    torchmetrics would convert logits to probabilities itself, but only in batches with values outside 0..1.
    """
    outputs = outputs.float()
    if task == "multiclass":
        return outputs.softmax(dim=1), targets
    if task == "regression":
        return (outputs.squeeze(1), targets.squeeze(1)) if outputs.shape[1] == 1 else (outputs, targets)
    probabilities, labels = outputs.sigmoid(), targets.long()
    return (probabilities.squeeze(1), labels.squeeze(1)) if task == "binary" else (probabilities, labels)


def snake_case(name: str) -> str:
    """Convert a class name: F1Score -> f1_score, AUROC -> auroc, MulticlassAUROC -> multiclass_auroc."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _config(name: str, key: str, **arguments: Any) -> MetricConfig:
    return MetricConfig.model_validate({"name": name, "key": key, **arguments})


def _build_one(section: str, config: MetricConfig, spec: DataSpec, user_code: UserCode) -> Metric:
    from torchmetrics import Metric

    factory = find(section, config.name, known_metrics(), user_code, Metric)  # type: ignore[type-abstract]
    for family, task in FAMILIES.items():
        if config.name.startswith(family) and task != spec.task:
            raise ComponentError(
                f"{section}.name: {config.name} is for {task} data, but the data is {spec.task}; "
                f"use {config.name.removeprefix(family)}"
            )
    filled = accepted(factory, _sizes(spec))
    metric = build(section, factory, Metric, {}, filled | config.arguments)  # type: ignore[type-abstract]
    _try(section, config, metric, spec)
    if "validate_args" not in config.arguments and hasattr(metric, "validate_args"):
        # The data's labels have been checked already, and this check would wait for the device in each batch.
        metric.validate_args = False
    return metric


def _sizes(spec: DataSpec) -> dict[str, Any]:
    sizes: dict[str, Any] = {"task": spec.task}
    if spec.task == "multiclass":
        sizes["num_classes"] = spec.num_outputs
    if spec.task == "multilabel":
        sizes["num_labels"] = spec.num_outputs
    return sizes


def _try(section: str, config: MetricConfig, metric: Metric, spec: DataSpec) -> None:
    """Run a metric on example outputs, then reset it. Raises ComponentError if it does not return numbers."""
    outputs, targets = _example_batch(spec)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metric.update(*as_predictions(outputs, targets, spec.task))
            value = metric.compute()
    except Exception as error:
        raise ComponentError(
            f"{section}.name: {config.name} does not support {spec.task} data: {first_line(error)}"
        ) from error
    if not isinstance(value, Tensor) or value.ndim > 2:
        raise ComponentError(
            f"{section}.name: {config.name} returns curves or several values; use a metric with one value"
        )
    metric.reset()


def _example_batch(spec: DataSpec) -> tuple[Tensor, Tensor]:
    """Make outputs (B, K) and targets with two samples of each class, without random numbers."""
    rows = torch.arange(max(2 * spec.num_outputs, 8))
    outputs = torch.sin(torch.arange(float(len(rows) * spec.num_outputs))).reshape(len(rows), -1)
    targets = {
        "multiclass": rows % spec.num_outputs,
        "binary": (rows % 2).float().unsqueeze(1),
        "multilabel": ((rows.unsqueeze(1) + torch.arange(spec.num_outputs)) % 2).float(),
        "regression": outputs.cos(),
    }[spec.task]
    return outputs, targets
