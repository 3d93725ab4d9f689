"""Applies `data.target_transform` to the targets of a dataset, before the task is inferred from them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, Splits, UntransformedTargets
from torchconsole.engine.components.data.order import preserved_randomness
from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.components.instantiate import UserCode, call, pick
from torchconsole.engine.config.data_schema import TargetTransformConfig
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.text import error_summary

SECTION = "data.target_transform"

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    name: getattr(torch, name)
    for name in ("abs", "exp", "expm1", "log", "log10", "log1p", "log2", "neg", "sign", "sqrt", "square")
}
"""Functions of torch that can be named, besides user code."""


def transform_targets(
    splits: Splits, config: TargetTransformConfig | None, task: TaskType | None, user_code: UserCode
) -> Splits:
    """Return the splits with every target transformed; task and class names follow from the new ones.

    A function from user code gets a target as the dataset has it: a number, or a tensor for a row of numbers;
    from a table, also a text. `task` is what the preset sets.
    If it does not take Python's numbers, it gets tensors. It returns a number, a row of numbers or, for a
    class, a text. Raises ComponentError for an unknown name or argument, TrustError for user code that is not
    trusted, and DataError for a target that cannot be transformed.
    """
    if config is None:
        return splits
    function = _build(config, user_code)
    source = splits.untransformed
    with preserved_randomness():
        values = {name: _apply(function, dataset, name, source) for name, dataset in splits.by_name.items()}
    texts = sorted({value for column in values.values() for value in column if isinstance(value, str)})
    indices = {text: index for index, text in enumerate(texts)}
    sets = {
        name: dataset.with_targets(_as_targets([indices.get(value, value) for value in values[name]]))
        for name, dataset in splits.by_name.items()
    }
    # Several columns of a table keep their names.
    names = splits.class_names if source is not None and sets["training"].targets.ndim == 2 else texts
    transformed = replace(splits.with_sets(sets), task=None, class_names=names, untransformed=None)
    return transformed if source is None or texts else _number_classes(transformed, task, source.most_classes)


def _number_classes(splits: Splits, task: TaskType | None, most_classes: int) -> Splits:
    """Return the splits with whole numbers as labels, as those of a table are: any numbers may be classes.

    Raises DataError if there are too many to be classes without being told.
    """
    targets = torch.cat([dataset.targets for dataset in splits.by_name.values()])
    whole = not targets.is_floating_point() and targets.dtype != torch.bool
    if targets.ndim > 1 or task == "regression" or not (whole or task in ("multiclass", "binary")):
        return splits
    known = torch.unique(targets)
    if task is None and len(known) > most_classes:
        raise DataError(
            f"{SECTION}: returns {len(known):,} different whole numbers for {len(targets):,} rows; set "
            "data.task to 'regression', or to 'multiclass' if they are classes"
        )
    sets = {
        name: dataset.with_targets(torch.searchsorted(known, dataset.targets))
        for name, dataset in splits.by_name.items()
    }
    names = [f"{number:g}" if isinstance(number, float) else str(number) for number in known.tolist()]
    return replace(splits.with_sets(sets), class_names=names)


def _build(config: TargetTransformConfig, user_code: UserCode) -> Callable[[Any], Any]:
    """Construct a class with the arguments; pass them to a function after the target."""
    if not is_user_code(config.name):
        if config.arguments:
            raise ComponentError(
                f"{SECTION}.{next(iter(config.arguments))}: torch.{config.name} takes no argument here"
            )
        return pick(SECTION, config.name, FUNCTIONS)
    step: Any = user_code.resolve(SECTION, config.name)
    if inspect.isclass(step):
        step = call(SECTION, step, {}, config.arguments)
    elif config.arguments:
        step = functools.partial(step, **config.arguments)
    if not callable(step):
        raise ComponentError(f"{SECTION}.name: {config.name} is not callable; name a function or a class")
    function: Callable[[Any], Any] = step
    return function


def _apply(
    function: Callable[[Any], Any], dataset: BaseDataset, part: str, source: UntransformedTargets | None
) -> list[Any]:
    """Return the transformed targets, each a text or a tensor."""
    targets = dataset.targets
    rows: list[Any] = targets.tolist() if targets.ndim == 1 else list(targets)
    if source is not None and source.texts is not None:
        rows = [source.texts[index] for index in rows]
    elif len(rows) and targets.ndim == 1 and not _takes(function, rows[0]):
        rows = list(targets)
    results = []
    for index, row in enumerate(rows):
        try:
            value = function(row)
            results.append(value if isinstance(value, str) else torch.as_tensor(value))
        except Exception as error:  # user code may raise anything
            raise DataError(
                f"{SECTION}: cannot transform the target {_shown(row)} of {dataset.describe(index)} in the "
                f"{part} set: {error_summary(error)}"
            ) from error
    return results


def _takes(function: Callable[[Any], Any], number: Any) -> bool:
    """Whether a function takes a number of Python; otherwise it may be made for tensors."""
    try:
        function(number)
    except (TypeError, AttributeError):
        return False
    except Exception:  # noqa: BLE001 - reported with its sample
        return True
    return True


def _as_targets(values: list[Any]) -> Tensor:
    """Stack the targets. Raises DataError for targets of different shapes, or texts among numbers."""
    shapes = {value.shape if isinstance(value, Tensor) else torch.Size() for value in values}
    if len(shapes) > 1:
        listed = " and ".join(sorted(str(tuple(shape)) for shape in shapes)[:2])
        raise DataError(f"{SECTION}: returns targets of different shapes, such as {listed}")
    if len({isinstance(value, Tensor) for value in values}) > 1:
        raise DataError(f"{SECTION}: returns texts for some targets and numbers for others")
    tensors = [torch.as_tensor(value) for value in values]
    if any(tensor.is_floating_point() for tensor in tensors):
        tensors = [tensor.to(torch.float64) for tensor in tensors]
    return torch.stack(tensors)


def _shown(row: Any) -> Any:
    return row.tolist() if isinstance(row, Tensor) else repr(row)
