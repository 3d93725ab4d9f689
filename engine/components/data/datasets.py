"""Datasets: inputs with their targets, held as tensors or read one by one from a map-style dataset."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from torchconsole.engine.components.data.data_record import FeatureRecord
from torchconsole.engine.components.data.decoding import to_tensor
from torchconsole.engine.components.data.expected_targets import ExpectedTargets
from torchconsole.engine.components.data.images import UnreadableError, is_unreadable
from torchconsole.engine.components.data.system_failures import raise_system_failure
from torchconsole.engine.components.data.types import TaskType, TextRecord
from torchconsole.engine.config.data_schema import NormalizeConfig, TargetScaleConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.reports import DataColumn
from torchconsole.engine.text import counted, error_summary, printable

MAX_NAMES = 3
"""Number of samples that a warning names."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Tells where the samples of a set come from. It holds none of them, so that they need not be kept."""

    locate: Callable[[int], str] | None
    """Returns where sample `n` of the source is; None if it has only a number."""
    indices: Tensor | None
    """Indices of the set's samples in the source, (N,) int64; all of its samples if None."""
    corrupt: CorruptSamples | None = None
    """The samples of the source that the next one of the set replaces."""

    def __call__(self, index: int) -> str:
        """Return the file of the sample that is read at `index`, its line in one, or its number."""
        while self.corrupt is not None and self._source_index(index) in self.corrupt:
            index = (index + 1) % len(self.corrupt if self.indices is None else self.indices)
        source_index = self._source_index(index)
        return f"sample {source_index}" if self.locate is None else self.locate(source_index)

    def _source_index(self, index: int) -> int:
        return index if self.indices is None else int(self.indices[index])


class BaseDataset(ABC):
    """Inputs and targets; `targets` is (N,) or (N, K), always in memory on the CPU."""

    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def input(self, index: int) -> Tensor:
        """Return one input. Raises DataError if it cannot be read."""
        return self.read(index)[0]

    @abstractmethod
    def read(self, index: int) -> tuple[Tensor, int]:
        """Return an input, and the index of the sample that it belongs to, for its target.

        The input is uint8 (C, H, W), float32 or int64. The returned index differs from `index` only if that
        sample cannot be read and another one replaces it. Raises DataError if no sample can be read.
        """

    @abstractmethod
    def subset(self, indices: Tensor) -> BaseDataset:
        """Return the samples at `indices` (n,) int64, in that order."""

    @abstractmethod
    def with_targets(self, targets: Tensor) -> BaseDataset:
        """Return the same inputs with other targets."""

    def log_corrupt_samples(self) -> None:  # noqa: B027 - most kinds have no corrupt samples
        """Warn of the samples that cannot be read if new ones were found since the last call."""

    def note_on_corrupt_samples(self) -> str | None:
        """Return a note on the samples that were found to be unreadable; None if there are none."""
        return None

    @abstractmethod
    def describe(self, index: int) -> str:
        """Return the file of a sample, or its number, for messages."""

    @property
    @abstractmethod
    def places(self) -> Places:
        """Where the samples come from."""


@dataclass(frozen=True)
class InMemoryDataset(BaseDataset):
    """All inputs in one tensor (N, ...)."""

    inputs: Tensor
    targets: Tensor
    owned: bool = False
    """Whether nothing else uses `inputs`, so that they may be changed in place."""
    locate: Callable[[int], str] | None = None
    """Returns where sample `n` of the source is, such as a line of its file; None if it has only a number."""
    indices: Tensor | None = None
    """Indices of these samples in the source, (N,) int64; all of its samples if None."""

    def read(self, index: int) -> tuple[Tensor, int]:
        return self.inputs[index], index

    def subset(self, indices: Tensor) -> InMemoryDataset:
        source_indices = indices if self.indices is None else self.indices[indices]
        return InMemoryDataset(
            self.inputs[indices], self.targets[indices], locate=self.locate, indices=source_indices
        )

    def with_inputs(self, inputs: Tensor) -> InMemoryDataset:
        """Return the same samples with other inputs."""
        return replace(self, inputs=inputs, owned=False)

    def with_targets(self, targets: Tensor) -> InMemoryDataset:
        return replace(self, targets=targets, owned=False)

    def describe(self, index: int) -> str:
        return self.places(index)

    @property
    def places(self) -> Places:
        return Places(self.locate, self.indices)


def too_many_unreadable(limit: int, error: DataError) -> DataError:
    """Return the error for more than data.max_corrupt samples that cannot be read; `error` is the last."""
    return DataError(
        f"data.max_corrupt: more than {counted(limit, 'sample')} cannot be read: repair or remove them, "
        f"or raise it; the last one: {str(error).removeprefix('data: ')}"
    )


class CorruptSamples:
    """The samples of a dataset that cannot be read, at most `limit`; shared by all processes that read it."""

    def __init__(self, count: int, limit: int) -> None:
        self._marks: Tensor = torch.zeros(count, dtype=torch.bool)
        # Workers are forked, so with shared memory all processes see what one of them finds.
        self._marks.share_memory_()  # type: ignore[no-untyped-call]
        self._limit = limit
        self._logged = 0

    def __len__(self) -> int:
        return len(self._marks)

    def __contains__(self, source_index: int) -> bool:
        return bool(self._marks[source_index])

    def add(self, source_index: int, error: DataError) -> None:
        """Mark one sample. Raises DataError if there are too many."""
        self._marks[source_index] = True
        if int(self._marks.sum()) > self._limit:
            raise too_many_unreadable(self._limit, error) from error

    def all(self) -> list[int]:
        """Return all marked samples."""
        found: list[int] = self._marks.nonzero().flatten().tolist()
        return found

    def has_unlogged(self) -> bool:
        """Whether samples were marked since the last call."""
        before, self._logged = self._logged, int(self._marks.sum())
        return self._logged > before


@dataclass(frozen=True)
class MapStyleDataset(BaseDataset):
    """Inputs that a map-style dataset reads or computes one by one, with targets that are known before."""

    source: Any
    targets: Tensor
    fixed: bool
    """Whether an input is the same each time it is read, so that it can be read once and kept."""
    paths: Sequence[str] | None = None
    """The file of each of the source's samples, if each has one."""
    indices: Tensor | None = None
    """Indices of these samples in the source, (N,) int64; all of its samples if None."""
    corrupt: CorruptSamples | None = None
    """The samples that cannot be read; if None, the first such sample raises an error."""
    expected: ExpectedTargets | None = None
    """What the source must return as targets; None if it is known to do that."""

    def read(self, index: int) -> tuple[Tensor, int]:
        """See `BaseDataset.read`. The next readable sample replaces a corrupt one; 0 follows the last."""
        if self.corrupt is None:
            return self._read_source(index), index
        for candidate in (*range(index, len(self)), *range(index)):
            source_index = self._source_index(candidate)
            if source_index in self.corrupt:
                continue
            try:
                return self._read_source(candidate), candidate
            except UnreadableError as error:
                self.corrupt.add(source_index, error)
        raise DataError(f"data: none of the {len(self):,} samples can be read; check their files")

    def log_corrupt_samples(self) -> None:
        if self.corrupt is not None and self.corrupt.has_unlogged():
            log.warning("data: %s", self.note_on_corrupt_samples())

    def note_on_corrupt_samples(self) -> str | None:
        found = [] if self.corrupt is None else self.corrupt.all()
        if not found:
            return None
        paths = self.paths
        names = [printable(paths[number]) if paths else f"sample {number}" for number in found[:MAX_NAMES]]
        more = ", ..." if len(found) > MAX_NAMES else ""
        count = "1 sample" if len(found) == 1 else f"{len(found):,} samples"
        return f"{count} cannot be read; the next readable sample is used instead: {', '.join(names)}{more}"

    def _read_source(self, index: int) -> Tensor:
        source_index = self._source_index(index)
        try:
            sample = self.source[source_index]
            if self.expected is not None:
                self.expected.check(source_index, sample[1], self.describe(index))
            return to_tensor(sample[0])
        except Exception as error:
            raise_system_failure(error, f"cannot read {self.describe(index)}: ")
            if not is_unreadable(error):
                raise
            # The error does not always name the file.
            decoding = isinstance(error, UnreadableError)
            reason = str(error).removeprefix("data: ") if decoding else error_summary(error)
            raise UnreadableError(f"data: cannot read {self.describe(index)}: {reason}") from error

    def subset(self, indices: Tensor) -> MapStyleDataset:
        source_indices = indices if self.indices is None else self.indices[indices]
        return replace(self, targets=self.targets[indices], indices=source_indices)

    def with_targets(self, targets: Tensor) -> MapStyleDataset:
        return replace(self, targets=targets)

    def describe(self, index: int) -> str:
        path = self.path(index)
        return f"sample {self._source_index(index)}" if path is None else printable(path)

    @property
    def places(self) -> Places:
        paths = self.paths
        locate = None if paths is None else lambda number: printable(paths[number])
        return Places(locate, self.indices, self.corrupt)

    def path(self, index: int) -> str | None:
        """Return the file of a sample."""
        return None if self.paths is None else self.paths[self._source_index(index)]

    def _source_index(self, index: int) -> int:
        return index if self.indices is None else int(self.indices[index])


@dataclass(frozen=True)
class UntransformedTargets:
    """How the targets of a table stand for what is in the file, until they are transformed."""

    texts: list[str] | None
    """The texts that the targets are indices of; None if they are the numbers of the file."""
    most_classes: int
    """The largest number of different whole numbers that are classes without being told."""


@dataclass(frozen=True)
class Splits:
    """A training set, with a validation and a test set if the source has them or once they are split off."""

    train: BaseDataset
    val: BaseDataset | None = None
    test: BaseDataset | None = None
    task: TaskType | None = None
    """The task, if the source knows it; otherwise it is inferred from the targets."""
    class_names: list[str] = field(default_factory=list)
    untransformed: UntransformedTargets | None = None
    """What `data.target_transform` gets for the targets of a table; None for other data."""
    unscaled: Tensor | None = None
    """Features (F,) bool that are never normalized: categories as zeros and ones."""
    normalized: bool = False
    """Whether the dataset's own transforms normalize its inputs."""
    fill_missing: bool = False
    """Whether inputs that are nan are missing values, to be filled with the training set's mean."""
    texts: TextRecord | None = None
    """How texts became tokens; None for other data."""
    notes: list[str] = field(default_factory=list)
    scaling: NormalizeConfig | None = None
    """What the inputs were normalized with, if `scale_features` has done it."""
    target_scale: TargetScaleConfig | None = None
    """What the targets were standardized with, if `scale_targets` has done it."""
    columns: list[DataColumn] = field(default_factory=list)
    """The columns of a table and their roles; empty for other data."""
    fills: list[float] = field(default_factory=list)
    """What replaced the missing numbers of a table, for each input that is a number."""
    deep_images: bool = False
    """Whether image files are decoded to float32, because some have more than 8 bits."""
    features: list[FeatureRecord] = field(default_factory=list)
    """The columns of a table that are inputs, for later readings of it; empty for other data."""

    @property
    def by_name(self) -> dict[str, BaseDataset]:
        """The sets that exist, by name: training, validation and test."""
        named = {"training": self.train, "validation": self.val, "test": self.test}
        return {name: dataset for name, dataset in named.items() if dataset is not None}

    def with_sets(self, sets: Mapping[str, BaseDataset]) -> Splits:
        """Return these splits with other sets, by the same names."""
        return replace(self, train=sets["training"], val=sets.get("validation"), test=sets.get("test"))


def skip_corrupt_samples(splits: Splits, limit: int) -> Splits:
    """Return the splits with samples that cannot be read replaced, at most `limit` in each set."""

    def skipping(dataset: BaseDataset) -> BaseDataset:
        if not isinstance(dataset, MapStyleDataset):
            return dataset
        return replace(dataset, corrupt=CorruptSamples(len(dataset.source), limit))

    return splits.with_sets({name: skipping(dataset) for name, dataset in splits.by_name.items()})
