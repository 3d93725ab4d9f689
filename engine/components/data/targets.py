"""Finds what kind of target the data has, checks the labels, and gives them the form that losses take."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, Splits
from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.errors import DataError

SPARSE = 100
"""Labels that run to more than this many times the classes that occur are taken for a mistake."""


def settle_targets(parts: Splits, wanted: TaskType | None) -> tuple[Splits, TaskType, int]:
    """The parts with targets as `TaskType` describes them, the task, and the number of outputs.

    `wanted` overrides what the source says; without either, whole numbers and text are classes, floats that
    are all 0 or 1 are binary (one column) or multilabel (several), and other floats are for regression.
    Raises DataError for empty parts and for labels that do not fit.
    """
    for name, part in parts.by_name.items():
        if len(part) == 0:
            raise DataError(f"data: the {name} part is empty")
    task = wanted or parts.task or _find_task(parts.train.targets)
    converted = {name: _convert(part, task, name) for name, part in parts.by_name.items()}
    outputs = _count_outputs(converted, task, parts.class_names)
    settled = replace(
        parts,
        task=task,
        train=converted["training"],
        val=converted.get("validation"),
        test=converted.get("test"),
        class_names=_class_names(parts.class_names, task, outputs),
    )
    return settled, task, outputs


def count_classes(targets: Tensor, task: TaskType, outputs: int) -> Tensor | None:
    """BaseDataset of each class, int64: (C,), for binary (2,), for multilabel the ones of each label (L,)."""
    if task == "multiclass":
        return torch.bincount(targets, minlength=outputs)
    if task == "binary":
        return torch.bincount(targets.flatten().long(), minlength=2)
    return targets.sum(0).long() if task == "multilabel" else None


def classes_of_samples(targets: Tensor, task: TaskType) -> Tensor | None:
    """The one class of each sample, (N,) int64; None where samples have none or several."""
    return targets.flatten().long() if task in ("multiclass", "binary") else None


def check_training_part(targets: Tensor, task: TaskType) -> None:
    """Raises DataError for a training part that nothing can be learned from."""
    if len(targets) < 2:
        raise DataError("data: the training part has 1 sample; at least 2 are needed")
    classes = classes_of_samples(targets, task)
    if classes is not None and (classes == classes[0]).all():
        raise DataError(
            f"data: all {len(classes):,} training samples are of one class (label {int(classes[0])}); "
            "at least two classes are needed"
        )


def _find_task(targets: Tensor) -> TaskType:
    several = targets.ndim == 2 and targets.shape[1] > 1
    ones_and_zeros = bool(((targets == 0) | (targets == 1)).all())
    if several and ones_and_zeros:
        return "multilabel"
    if targets.is_floating_point() or targets.dtype == torch.bool:
        return "binary" if ones_and_zeros else "regression"
    if several:
        raise DataError(
            f"data.task: targets are {targets.shape[1]} whole numbers each; set it to 'regression' if they "
            "are amounts, or give labels as zeros and ones"
        )
    return "multiclass"


def _convert(samples: BaseDataset, task: TaskType, part: str) -> BaseDataset:
    targets = samples.targets
    if targets.ndim > 2:
        raise DataError(
            f"data: a target must be a number or a row of numbers, here it is {tuple(targets.shape[1:])}"
        )
    bad = torch.nonzero(~torch.isfinite(targets.float()).reshape(len(targets), -1).all(1))
    if len(bad):
        where = samples.describe(int(bad[0]))
        raise DataError(f"data: the target of {where} in the {part} part is not a finite number")
    if task == "regression":
        return samples.with_targets(targets.reshape(len(targets), -1).float())
    _check_labels(samples, task, part)
    if task == "multiclass":
        return samples.with_targets(targets.flatten().long())
    return samples.with_targets(targets.reshape(len(targets), -1).float())


def _check_labels(samples: BaseDataset, task: TaskType, part: str) -> None:
    """Whole numbers from 0 for classes, zeros and ones for the others."""
    targets = samples.targets
    width = 1 if targets.ndim == 1 else targets.shape[1]
    if (task == "multilabel") == (width == 1):
        raise DataError(f"data.task: {task} does not fit targets of {width} column{'s' * (width > 1)}")
    if task == "multiclass":
        fit = (targets >= 0) & (targets == targets.long())
        need = "whole numbers from 0"
    else:
        fit, need = (targets == 0) | (targets == 1), "0 or 1"
    wrong = torch.nonzero(~fit.reshape(len(targets), -1).all(1))
    if len(wrong):
        place = int(wrong[0])
        raise DataError(
            f"data: {task} labels must be {need}; {samples.describe(place)} in the {part} part has "
            f"{targets[place].tolist()}"
        )


def _count_outputs(parts: dict[str, BaseDataset], task: TaskType, class_names: list[str]) -> int:
    """Outputs that the model needs; every part must fit the training part's number."""
    train = parts["training"].targets
    if task != "multiclass":
        width = train.shape[1]
        for name, part in parts.items():
            if part.targets.shape[1] != width:
                raise DataError(
                    f"data: targets have {width} columns in the training part, {part.targets.shape[1]} "
                    f"in the {name} part"
                )
        return width
    low, high = int(train.min()), int(train.max())
    if low > 0 and not class_names:
        raise DataError(f"data: labels run from {low} to {high}; they must start at 0")
    if not class_names and high + 1 > SPARSE * (occurring := len(torch.unique(train))):
        raise DataError(
            f"data: labels run up to {high}, but only {occurring} different ones occur; "
            "number the classes from 0"
        )
    classes = len(class_names) or high + 1
    for name, part in parts.items():
        if (top := int(part.targets.max())) >= classes:
            raise DataError(
                f"data: the {name} part has the label {top}, but the {classes} classes are 0 to {classes - 1}"
            )
    return classes


def _class_names(given: list[str], task: TaskType, outputs: int) -> list[str]:
    wanted = {"regression": 0, "binary": 2}.get(task, outputs)
    return given if len(given) == wanted else [str(number) for number in range(wanted)]
