"""Metrics of an evaluation: the defaults of the task, any class of torchmetrics, or user code."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from torchconsole.engine.components.data.target_scaling import TargetUnit
from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.instantiate import UserCode, accepted, build, classes_of, find
from torchconsole.engine.components.metric_set import MetricSet, NamedMetric
from torchconsole.engine.components.outputs import OutputKind
from torchconsole.engine.components.torchvision_compat import prepare_torchvision
from torchconsole.engine.config.schema import MetricConfig
from torchconsole.engine.errors import ComponentError

if TYPE_CHECKING:
    from torchmetrics import Metric

PREFIX = "val/"
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
    configs: Sequence[MetricConfig] | None,
    spec: DataSpec,
    outputs: OutputKind,
    device: torch.device,
    user_code: UserCode,
) -> MetricSet:
    """Build a preset's metrics on `device`; those of the task if `configs` is None.

    torchmetrics' arguments task, num_classes and num_labels are filled in from the data; `outputs` is what
    the loss says about the model's outputs.

    Raises:
        ComponentError: for an unknown name or argument, and for a metric of another task.
        TrustError: for user code that is not trusted.
    """
    prepare_torchvision()
    # It warns of what it sets to 0 or nan; such a metric is n/a here, with a reason.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torchmetrics\.utilities\.prints")
    metrics: dict[str, NamedMetric] = {}
    for number, config in enumerate(default_metrics(spec) if configs is None else configs):
        section = f"metrics.{number}"
        key = PREFIX + (config.key or snake_case(config.name.rpartition(":")[2]))
        if key in metrics or key == "val/loss":
            raise ComponentError(f"{section}.key: there is already a metric {key}; set another key")
        metrics[key] = _build_one(section, config, spec, device, user_code)
    unit = TargetUnit(spec.target_scale, device) if spec.target_scale else None
    if unit is not None:
        for named in metrics.values():
            named.metric.set_dtype(unit.dtype)
    return MetricSet(metrics, spec, outputs, unit)


def snake_case(name: str) -> str:
    """Convert a class name: F1Score -> f1_score, AUROC -> auroc, MulticlassAUROC -> multiclass_auroc."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _config(name: str, key: str, **arguments: Any) -> MetricConfig:
    return MetricConfig.model_validate({"name": name, "key": key, **arguments})


def _build_one(
    section: str, config: MetricConfig, spec: DataSpec, device: torch.device, user_code: UserCode
) -> NamedMetric:
    from torchmetrics import Metric

    factory = find(section, config.name, known_metrics(), user_code, Metric)  # type: ignore[type-abstract]
    for family, task in FAMILIES.items():
        if config.name.startswith(family) and task != spec.task:
            raise ComponentError(
                f"{section}.name: {config.name} is for {task} data, but the data is {spec.task}; "
                f"use {config.name.removeprefix(family)}"
            )
    if spec.task == "regression" and factory.__module__.startswith("torchmetrics.classification"):
        raise ComponentError(
            f"{section}.name: {config.name} is for classes, but the data is regression; use "
            "MeanAbsoluteError, R2Score or another"
        )
    filled = accepted(factory, _sizes(spec))
    metric = build(section, factory, Metric, {}, filled | config.arguments)  # type: ignore[type-abstract]
    if "validate_args" not in config.arguments and hasattr(metric, "validate_args"):
        # The data's labels have been checked already, and this check would wait for the device in each batch.
        metric.validate_args = False
    return NamedMetric(metric.to(device), section, config.name)


def _sizes(spec: DataSpec) -> dict[str, Any]:
    sizes: dict[str, Any] = {"task": spec.task}
    if spec.task == "multiclass":
        sizes["num_classes"] = spec.num_outputs
    if spec.task == "multilabel":
        sizes["num_labels"] = spec.num_outputs
    return sizes
