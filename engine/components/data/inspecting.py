"""Finds the targets, images, files and class names of a map-style dataset, if possible in its attributes.

An attribute must agree with the samples: with a few of a library's dataset, with all of any other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import (
    BaseDataset,
    InMemoryDataset,
    MapStyleDataset,
    too_many_unreadable,
)
from torchconsole.engine.components.data.decoding import (
    compact,
    from_numpy,
    note_lost_digits,
    plain_tensor,
    to_tensor,
)
from torchconsole.engine.components.data.expected_targets import (
    ExpectedTargets,
    Target,
    as_target,
    same_target,
)
from torchconsole.engine.components.data.images import UnreadableError, is_unreadable
from torchconsole.engine.components.data.order import preserved_randomness
from torchconsole.engine.components.data.system_failures import raise_system_failure
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import did_you_mean, error_summary, printable

TARGET_ATTRIBUTES = ("targets", "labels", "_labels", "y", "attr", "samples", "_samples")
"""Attributes in which torchvision's datasets, and similar ones, have the targets of their samples."""

MAX_TRIES = 10
"""Samples to try in a row; at least one of them must be readable."""

LIBRARIES = ("torchvision", "torch", "torchaudio")
"""Packages whose datasets return the targets that their attributes have."""

COMPARE_SECONDS = 3.0
"""How long an attribute is compared with samples in advance. Others are compared when they are loaded."""

FILE_ATTRIBUTES = ("samples", "_samples", "_image_files", "_images", "_image_paths", "images", "filename")
"""Attributes in which torchvision's datasets, and similar ones, have the paths of their samples."""


class Wrapped(NamedTuple):
    """A dataset that is ready to be read."""

    dataset: BaseDataset
    class_names: list[str]
    """Empty if it has none."""
    notes: list[str] = []


def wrap_dataset(
    dataset: Any,
    name: str,
    report: ReportPhase,
    *,
    fixed: bool,
    max_unreadable: int = 0,
    classes: Sequence[str] | None = None,
) -> Wrapped:
    """Wrap a map-style dataset: in memory if it has all images in one array, otherwise read one by one.

    Labels that are text become indices of `classes`, by default of the dataset's own classes or of the sorted
    labels.

    `fixed`: a sample is the same each time it is read; false for a dataset that draws random numbers. Targets
    come from an attribute of the dataset that agrees with its samples, or else from one pass over it, whose
    progress is reported; at most `max_unreadable` samples that cannot be read then are left out. Raises
    DataError for an empty dataset, for samples that are not (input, target), and for text that is not one of
    `classes`.
    """
    count = _count(dataset, name)
    paths = sample_files(dataset, count)

    def read(index: int) -> tuple[Any, Target]:
        return _pair(dataset, index, name, printable(paths[index]) if paths else f"sample {index} of {name}")

    with preserved_randomness():
        probes = dict(_probe(read, index, count) for index in {0, count // 2, count - 1})
        is_text = any(isinstance(target, str) for _, target in probes.values())
        find = _labels_attribute if is_text else _targets_attribute
        found, attribute = find(dataset, count, probes)
        is_trusted = _is_of_library(dataset)
        readable: Tensor | None = None
        notes: list[str] = []
        if found is not None and not is_trusted and not _agrees(found, read, count, name, report):
            found = None
        if found is None:
            attribute = None
            readable, found, notes = _read_targets(read, count, name, report, max_unreadable)
    notes = [*notes, *note_lost_digits([value for value, _ in probes.values()])]
    expected = None if is_trusted else ExpectedTargets.of(found, readable, attribute)
    names = class_names(dataset)
    if is_text:
        targets, names = _encode_labels(found, classes, names, name)
    else:
        targets = found if isinstance(found, Tensor) else _stack(found, name)
    if fixed and (inputs := _images_attribute(dataset, count, probes)) is not None:
        return Wrapped(InMemoryDataset(inputs, targets), names)
    wrapped = MapStyleDataset(dataset, targets, fixed, paths, readable, expected=expected)
    return Wrapped(wrapped, names, notes)


def _probe(
    read: Callable[[int], tuple[Any, Target]], index: int, count: int
) -> tuple[int, tuple[Any, Target]]:
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
        return [printable(name if isinstance(name, str) else name[0]) for name in classes if name]
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


def _pair(dataset: Any, index: int, name: str, where: str) -> tuple[Any, Target]:
    try:
        pair = dataset[index]
    except Exception as error:  # user code may raise anything
        raise_system_failure(error, f"cannot read {where}: ")
        kind = UnreadableError if is_unreadable(error) else DataError
        raise kind(f"data: cannot read {where}: {error_summary(error)}") from error
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise DataError(
            f"data: {name} must return (input, target) for each sample, but returns a {type(pair).__name__}"
            + (f" of {len(pair)}" if isinstance(pair, tuple | list) else "")
        )
    return pair[0], as_target(pair[1], name)


Found = tuple[Tensor | list[Any] | None, str | None]
"""Targets and the attribute that has them."""


def _targets_attribute(dataset: Any, count: int, probes: dict[int, tuple[Any, Target]]) -> Found:
    for key, column in _columns(dataset, TARGET_ATTRIBUTES, count):
        targets = _as_targets(column)
        if targets is not None and all(same_target(targets[i], target) for i, (_, target) in probes.items()):
            return _as_given(targets, next(target for _, target in probes.values())), key
    return None, None


def _as_given(targets: Tensor, sample: Target) -> Tensor:
    """Return targets as whole numbers, floats or booleans, as a sample's is: the task depends on it."""
    if not isinstance(sample, Tensor) or _kind(sample) == _kind(targets):
        return targets
    return targets.to(sample.dtype)


def _kind(targets: Tensor) -> str:
    if targets.dtype == torch.bool:
        return "bool"
    return "float" if targets.is_floating_point() else "int"


def _as_targets(column: Any) -> Tensor | None:
    if isinstance(column, Tensor):
        return plain_tensor(column.cpu(), targets=True)
    array = np.asarray(_last_items(column))
    return from_numpy(array, targets=True) if array.dtype.kind in "biuf" else None


def _labels_attribute(dataset: Any, count: int, probes: dict[int, tuple[Any, Target]]) -> Found:
    """Return an attribute of labels that are text, if it agrees with the samples."""
    for key, column in _columns(dataset, TARGET_ATTRIBUTES, count):
        labels = [] if isinstance(column, Tensor) else list(_last_items(column))
        is_text = bool(labels) and all(isinstance(label, str) for label in labels)
        if is_text and all(labels[index] == target for index, (_, target) in probes.items()):
            return labels, key
    return None, None


def _is_of_library(dataset: Any) -> bool:
    """Whether a library returns the samples, and no function of the user's changes their targets."""
    get = getattr(type(dataset), "__getitem__", None)
    is_changed = getattr(dataset, "target_transform", None) or getattr(dataset, "transforms", None)
    changes = getattr(is_changed, "target_transform", is_changed) is not None
    return str(getattr(get, "__module__", "")).partition(".")[0] in LIBRARIES and not changes


def _agrees(
    found: Tensor | list[Any],
    read: Callable[[int], tuple[Any, Target]],
    count: int,
    name: str,
    report: ReportPhase,
) -> bool:
    """Whether the targets of an attribute are those of all samples that can be read in a short time."""
    progress = PhaseProgress(report, "reading targets", count, subject=name)
    end = time.monotonic() + COMPARE_SECONDS
    # Spread over the whole, in case that time is up.
    for index in torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist():
        if time.monotonic() > end:
            break
        with suppress(UnreadableError):
            if not same_target(found[index], read(index)[1]):
                return False
        progress.advance()
    return True


def _last_items(column: Any) -> Any:
    """Return the last item of each row, of a column such as `samples`; other columns as they are."""
    is_rows = isinstance(column, Sequence) and isinstance(column[0], tuple | list)
    return [row[-1] for row in column] if is_rows else column


def _read_targets(
    read: Callable[[int], tuple[Any, Target]], count: int, name: str, report: ReportPhase, max_unreadable: int
) -> tuple[Tensor | None, list[Target], list[str]]:
    """Read all targets. If some samples cannot be read, also return the indices of the others, and a note."""
    progress = PhaseProgress(report, "reading targets", count, subject=name)
    targets, readable, last = [], [], ""
    for index in range(count):
        try:
            targets.append(read(index)[1])
            readable.append(index)
        except UnreadableError as error:
            last = str(error)
            if not max_unreadable:
                raise
            if index - len(readable) >= max_unreadable:
                raise too_many_unreadable(max_unreadable, error) from error
        progress.advance()
    if len(readable) == count:
        return None, targets, []
    last = last.removeprefix("data: ")
    note = f"{count - len(readable):,} of {count:,} samples cannot be read and are left out; the last: {last}"
    return torch.tensor(readable), targets, [note]


def _stack(targets: Sequence[Any], name: str) -> Tensor:
    try:
        return plain_tensor(torch.stack(list(targets)), targets=True)
    except (RuntimeError, TypeError) as error:
        raise DataError(
            f"data: the targets of {name} differ in shape or type; give all of them the same shape"
        ) from error


def _encode_labels(
    labels: Any, classes: Sequence[str] | None, own: Sequence[str], name: str
) -> tuple[Tensor, list[str]]:
    """Return labels that are text as indices of the names of the classes, and these names."""
    if other := next((label for label in labels if not isinstance(label, str)), None):
        raise DataError(f"data: the targets of {name} are text, but also {other!r}; give them one type")
    labels = [printable(label) for label in labels]
    distinct = set(labels)
    names = list(classes or (own if distinct <= set(own) else sorted(distinct)))
    index = {label: number for number, label in enumerate(names)}
    if unknown := distinct - index.keys():
        raise DataError(
            f"data: {name} has the label {min(unknown)!r} in a held-out set, but not in the training set"
            f"{did_you_mean(min(unknown), names)}"
        )
    return torch.tensor([index[label] for label in labels]), names


def _images_attribute(dataset: Any, count: int, probes: dict[int, tuple[Any, Target]]) -> Tensor | None:
    """Return all images if the dataset has them in one uint8 array, else None."""
    for _, column in _columns(dataset, ("data",), count):
        tensor = from_numpy(column) if isinstance(column, np.ndarray) else column
        if not isinstance(tensor, Tensor) or tensor.dtype != torch.uint8:
            continue
        inputs = compact(tensor, samples=True)
        if all(same_target(inputs[i], to_tensor(value)) for i, (value, _) in probes.items()):
            return inputs.contiguous()
    return None


def sample_files(dataset: Any, count: int) -> Sequence[str] | None:
    """Return the path of each of the `count` samples from an attribute of the dataset; None without one."""
    for _, column in _columns(dataset, FILE_ATTRIBUTES, count):
        files = [row[0] for row in column] if isinstance(column[0], tuple | list) else column
        if isinstance(files[0], str | os.PathLike):
            return [os.fspath(file) for file in files]
    return None


def _columns(dataset: Any, names: Sequence[str], count: int) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that have one entry per sample, with their names."""
    for name in names:
        column: Any = getattr(dataset, name, None)
        if type(column).__module__.partition(".")[0] == "pandas":
            column = column.to_numpy()
        if isinstance(column, Sequence | np.ndarray | Tensor) and len(column) == count:
            yield name, column
