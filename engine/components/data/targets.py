"""Infers the task from the targets, checks the labels, and converts them to the form that losses take."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, Splits
from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.errors import DataError

MAX_SPARSITY = 100
"""A largest label of more than this many times the number of distinct labels is an error."""


INVISIBLE = ("Zs", "Cc", "Cf")
"""Unicode's categories of blanks, control characters and format characters."""

MAX_RATINGS = 20
"""Floats with more different values than this are no labels."""


def convert_targets(splits: Splits, requested: TaskType | None) -> tuple[Splits, TaskType, int]:
    """Return the splits with targets as `TaskType` describes them, the task, and the number of model outputs.

    `requested` overrides the task of the source. Without either, whole numbers and text are classes, floats
    that are all 0 or 1 are binary (one column) or multilabel (several), and other floats are for regression.
    For multiclass, rows with a single 1 are labels too.
    Raises DataError for empty sets and for labels that do not fit the task.
    """
    for name, dataset in splits.by_name.items():
        if len(dataset) == 0:
            raise DataError(f"data: the {name} set is empty")
    task = requested or splits.task or _infer_task(splits.train.targets)
    if _is_one_hot(splits.train.targets):
        splits = _number_one_hot(splits) if task == "multiclass" else _note_one_hot(splits, task, requested)
    if task == "regression" and requested is None and splits.task is None:
        splits = _note_whole_floats(splits)
    converted = {name: _convert(dataset, task, name) for name, dataset in splits.by_name.items()}
    outputs = _count_outputs(converted, task, splits.class_names)
    names = _class_names(splits.class_names, task, outputs)
    return replace(splits.with_sets(converted), task=task, class_names=names), task, outputs


def count_classes(targets: Tensor, task: TaskType, outputs: int) -> Tensor | None:
    """Count the samples of each class, int64: (C,); binary: (2,); multilabel: the ones of each label (L,)."""
    if task == "multiclass":
        return torch.bincount(targets, minlength=outputs)
    if task == "binary":
        return torch.bincount(targets.flatten().long(), minlength=2)
    return targets.sum(0).long() if task == "multilabel" else None


def note_absent_classes(counts: Tensor | None) -> list[str]:
    """Return a note if some classes have no training samples, from what `count_classes` returned."""
    if counts is None or counts.all():
        return []
    return [f"{int((counts == 0).sum())} of {len(counts)} classes have no training samples"]


def note_similar_classes(names: Sequence[str]) -> list[str]:
    """Return a note on classes of which people may have meant one: "Yes" and "yes ".

    Single letters are what they are.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        visible = (char for char in name.casefold() if unicodedata.category(char) not in INVISIBLE)
        found.setdefault("".join(visible), []).append(name)
    similar = next((alike for alike in found.values() if len(alike) > 1 and len(alike[0]) > 1), None)
    if similar is None:
        return []
    listed = ", ".join(map(repr, similar))
    return [
        f"the classes {listed} differ only in case, blanks or invisible characters; if they are one, "
        "write them alike"
    ]


def sample_classes(targets: Tensor, task: TaskType) -> Tensor | None:
    """Return the one class of each sample, (N,) int64; None if samples have none or several."""
    return targets.flatten().long() if task in ("multiclass", "binary") else None


def check_training_targets(targets: Tensor, task: TaskType) -> None:
    """Raise DataError for a training set with too few samples, or with samples of one class only."""
    if len(targets) < 2:
        raise DataError("data: the training set has 1 sample; at least 2 are needed")
    classes = sample_classes(targets, task)
    if classes is not None and (classes == classes[0]).all():
        raise DataError(
            f"data: all {len(classes):,} training samples are of the same class (label {int(classes[0])}); "
            "at least two classes are needed"
        )


def _infer_task(targets: Tensor) -> TaskType:
    several_columns = targets.ndim == 2 and targets.shape[1] > 1
    zeros_and_ones = bool(((targets == 0) | (targets == 1)).all())
    if several_columns and zeros_and_ones:
        return "multilabel"
    if targets.is_floating_point() or targets.dtype == torch.bool:
        return "binary" if zeros_and_ones else "regression"
    if several_columns:
        raise DataError(
            f"data.task: each target has {targets.shape[1]} whole numbers; set it to 'regression' if they "
            "are amounts, or use labels of zeros and ones"
        )
    return "multiclass"


def _is_one_hot(targets: Tensor) -> bool:
    """Whether each row (N, K) has a single 1, and more than one of the columns does."""
    if targets.ndim != 2 or targets.shape[1] < 2 or not ((targets == 0) | (targets == 1)).all():
        return False
    return bool((targets.sum(1) == 1).all()) and int((targets.sum(0) > 0).sum()) > 1


def _number_one_hot(splits: Splits) -> Splits:
    """Return the splits with one-hot targets as labels. Raises DataError if other sets have other targets."""
    sets = {}
    for name, dataset in splits.by_name.items():
        rows = dataset.targets
        if rows.shape[1:] != splits.train.targets.shape[1:] or not (rows.sum(1) == 1).all():
            raise DataError(
                f"data.task: each sample of the training set has one label, but not each of the {name} set; "
                "set it to 'multilabel', or correct the targets"
            )
        sets[name] = dataset.with_targets(rows.to(torch.uint8).argmax(1))
    return splits.with_sets(sets)


def _note_one_hot(splits: Splits, task: TaskType, requested: TaskType | None) -> Splits:
    if task != "multilabel" or requested is not None:
        return splits
    note = "each sample has exactly one label; if these are classes, set data.task = 'multiclass'"
    return replace(splits, notes=[*splits.notes, note])


def _note_whole_floats(splits: Splits) -> Splits:
    """Note floats that may be labels: one column that counts 0.0, 1.0, 2.0, ... or 1.0, 2.0, ..."""
    targets = splits.train.targets
    if targets[0].numel() != 1 or (targets % 1 != 0).any():
        return splits
    known = torch.unique(targets).tolist()
    if not 2 < len(known) <= MAX_RATINGS or known[0] not in (0, 1) or known[-1] - known[0] != len(known) - 1:
        return splits
    note = (
        f"the targets are the numbers {known[0]:g} to {known[-1]:g}, as floats, and so for regression; if "
        "they are classes, set data.task = 'multiclass'"
    )
    return replace(splits, notes=[*splits.notes, note])


def _convert(dataset: BaseDataset, task: TaskType, name: str) -> BaseDataset:
    targets = dataset.targets
    if targets.ndim > 2:
        raise DataError(
            f"data: a target must be a number or a row of numbers, but has shape {tuple(targets.shape[1:])}"
        )
    bad = torch.nonzero(~torch.isfinite(targets.float()).reshape(len(targets), -1).all(1))
    if len(bad):
        where = dataset.describe(int(bad[0]))
        raise DataError(f"data: the target of {where} in the {name} set is not a finite number; correct it")
    if task == "regression":  # float64 until `scale_targets`
        return dataset.with_targets(targets.reshape(len(targets), -1).double())
    _check_labels(dataset, task, name)
    if task == "multiclass":
        return dataset.with_targets(targets.flatten().long())
    return dataset.with_targets(targets.reshape(len(targets), -1).float())


def _check_labels(dataset: BaseDataset, task: TaskType, name: str) -> None:
    """Check for whole numbers from 0 (classes), or for zeros and ones (other tasks)."""
    targets = dataset.targets
    width = 1 if targets.ndim == 1 else targets.shape[1]
    if (task == "multilabel") == (width == 1):
        raise DataError(
            f"data.task: {task} does not fit targets of {width} column{'s' * (width > 1)}; set it to 'auto'"
        )
    if task == "multiclass":
        valid = (targets >= 0) & (targets == targets.long())
        needed = "whole numbers from 0"
    else:
        valid, needed = (targets == 0) | (targets == 1), "0 or 1"
    wrong = torch.nonzero(~valid.reshape(len(targets), -1).all(1))
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"data: {task} labels must be {needed}; {dataset.describe(first)} in the {name} set has "
            f"{targets[first].tolist()}"
        )


def _count_outputs(datasets: dict[str, BaseDataset], task: TaskType, class_names: list[str]) -> int:
    """Return the number of outputs that the model needs. Raises DataError if a set does not fit it."""
    train = datasets["training"].targets
    if task != "multiclass":
        width = train.shape[1]
        for name, dataset in datasets.items():
            if dataset.targets.shape[1] != width:
                raise DataError(
                    f"data: targets have {width} columns in the training set, but {dataset.targets.shape[1]} "
                    f"in the {name} set"
                )
        return width
    low, high = int(train.min()), int(train.max())
    if low > 0 and not class_names:
        raise DataError(f"data: labels run from {low} to {high}; number the classes from 0")
    if not class_names and high + 1 > MAX_SPARSITY * (occurring := len(torch.unique(train))):
        raise DataError(
            f"data: labels run up to {high}, but only {occurring} different ones occur; "
            "number the classes from 0"
        )
    classes = len(class_names) or high + 1
    for name, dataset in datasets.items():
        if (top := int(dataset.targets.max())) >= classes:
            raise DataError(
                f"data: the {name} set has the label {top}, but the {classes} classes are 0 to {classes - 1}"
            )
    return classes


def _class_names(given: list[str], task: TaskType, outputs: int) -> list[str]:
    wanted = {"regression": 0, "binary": 2}.get(task, outputs)
    return given if len(given) == wanted else [str(number) for number in range(wanted)]
