"""Finds the targets, images, files and class names of a map-style dataset without reading every sample.

It uses an attribute of the dataset only if the attribute agrees with a few samples that it reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, MapStyleDataset
from torchconsole.engine.components.data.decoding import compact, from_numpy, to_tensor
from torchconsole.engine.components.data.order import preserved_randomness
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import error_summary

TARGET_ATTRIBUTES = ("targets", "labels", "_labels", "y", "attr", "samples", "_samples")
"""Attributes in which torchvision's datasets, and similar ones, have the targets of their samples."""

MAX_TRIES = 10
"""Samples to try in a row; at least one of them must be readable."""

FILE_ATTRIBUTES = ("samples", "_samples", "_image_files", "_images", "_image_paths", "images", "filename")
"""Attributes in which torchvision's datasets, and similar ones, have the paths of their samples."""


def wrap_dataset(dataset: Any, name: str, report: ReportPhase, *, fixed: bool) -> BaseDataset:
    """Wrap a map-style dataset: in memory if it has all images in one array, otherwise read one by one.

    `fixed`: a sample is the same each time it is read; false for a dataset that draws random numbers. Targets
    come from an attribute of the dataset, or else from one pass over it, whose progress is reported. Raises
    DataError for an empty dataset and for samples that are not (input, target).
    """
    count = _count(dataset, name)
    paths = _files(dataset, count)

    def read(index: int) -> tuple[Any, Tensor]:
        return _pair(dataset, index, name, paths[index] if paths else f"sample {index} of {name}")

    with preserved_randomness():
        probes = dict(_probe(read, index, count) for index in {0, count // 2, count - 1})
        targets = _targets_attribute(dataset, count, probes)
        if targets is None:
            targets = _read_targets(read, count, name, report)
    if fixed and (inputs := _images_attribute(dataset, count, probes)) is not None:
        return InMemoryDataset(inputs, targets)
    return MapStyleDataset(dataset, targets, fixed, paths)


def _probe(
    read: Callable[[int], tuple[Any, Tensor]], index: int, count: int
) -> tuple[int, tuple[Any, Tensor]]:
    """Read the first readable sample from `index` on; data.on_corrupt applies to unreadable ones later."""
    try:
        return index, read(index)
    except DataError:
        for step in range(1, min(MAX_TRIES, count)):
            other = (index + step) % count
            with suppress(DataError):
                return other, read(other)
        raise


def class_names(dataset: Any) -> list[str]:
    """Return the names of a dataset's classes in the order of their labels; empty if it has none."""
    classes = getattr(dataset, "classes", None) or getattr(dataset, "attr_names", None)
    if isinstance(classes, list | tuple) and all(isinstance(name, str | tuple) for name in classes):
        # ImageNet gives each class a tuple of synonyms, and CelebA's list of attributes ends in an empty one.
        return [name if isinstance(name, str) else name[0] for name in classes if name]
    number = getattr(dataset, "num_classes", None)
    return [str(label) for label in range(number)] if isinstance(number, int) else []


def _count(dataset: Any, name: str) -> int:
    try:
        count = len(dataset)
    except Exception as error:  # user code may raise anything
        raise DataError(f"data: {name} has no length: {error_summary(error)}") from error
    if count == 0:
        raise DataError(f"data: {name} is empty")
    return count


def _pair(dataset: Any, index: int, name: str, where: str) -> tuple[Any, Tensor]:
    try:
        pair = dataset[index]
    except Exception as error:  # user code may raise anything
        raise DataError(f"data: cannot read {where}: {error_summary(error)}") from error
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise DataError(
            f"data: {name} must return (input, target) for each sample, but returns a {type(pair).__name__}"
            + (f" of {len(pair)}" if isinstance(pair, tuple | list) else "")
        )
    return pair[0], _target(pair[1], name)


def _target(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return from_numpy(value)
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"data: {name} returns a {type(value).__name__} as target; a number or a row of numbers is needed"
        ) from error


def _targets_attribute(dataset: Any, count: int, probes: dict[int, tuple[Any, Tensor]]) -> Tensor | None:
    for column in _columns(dataset, TARGET_ATTRIBUTES, count):
        targets = _as_targets(column)
        if targets is not None and all(_agree(targets[i], target) for i, (_, target) in probes.items()):
            return targets
    return None


def _as_targets(column: Any) -> Tensor | None:
    if isinstance(column, Tensor):
        return column.detach().cpu()
    if isinstance(column, Sequence) and isinstance(column[0], tuple | list):
        column = [row[-1] for row in column]
    array = np.asarray(column)
    return from_numpy(array) if array.dtype.kind in "biuf" else None


def _read_targets(
    read: Callable[[int], tuple[Any, Tensor]], count: int, name: str, report: ReportPhase
) -> Tensor:
    progress = PhaseProgress(report, "reading targets", count, subject=name)
    targets = []
    for index in range(count):
        targets.append(read(index)[1])
        progress.advance()
    try:
        return torch.stack(targets)
    except RuntimeError as error:
        raise DataError(
            f"data: the targets of {name} differ in shape; give all of them the same shape"
        ) from error


def _images_attribute(dataset: Any, count: int, probes: dict[int, tuple[Any, Tensor]]) -> Tensor | None:
    """Return all images if the dataset has them in one uint8 array, else None."""
    for column in _columns(dataset, ("data",), count):
        tensor = from_numpy(column) if isinstance(column, np.ndarray) else column
        if not isinstance(tensor, Tensor) or tensor.dtype != torch.uint8:
            continue
        inputs = compact(tensor, samples=True)
        if all(_agree(inputs[i], to_tensor(value)) for i, (value, _) in probes.items()):
            return inputs.contiguous()
    return None


def _files(dataset: Any, count: int) -> Sequence[str] | None:
    for column in _columns(dataset, FILE_ATTRIBUTES, count):
        files = [row[0] for row in column] if isinstance(column[0], tuple | list) else column
        if isinstance(files[0], str | os.PathLike):
            return [os.fspath(file) for file in files]
    return None


def _columns(dataset: Any, names: Sequence[str], count: int) -> Iterator[Any]:
    """Yield the attributes that have one entry per sample."""
    for name in names:
        column = getattr(dataset, name, None)
        if isinstance(column, Sequence | np.ndarray | Tensor) and len(column) == count:
            yield column


def _agree(attribute: Tensor, sample: Tensor) -> bool:
    # A list of floats is read as float64, a single one as float32.
    same_shape = attribute.shape == sample.shape
    return same_shape and torch.allclose(attribute.double(), sample.double())
