"""Samples: inputs with their targets, held as tensors or read one by one from a data set."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from torchconsole.engine.components.data.corrupt import CorruptSamples
from torchconsole.engine.components.data.decoding import to_tensor
from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.errors import DataError

NAMED = 3
"""How many samples a warning names."""

log = logging.getLogger(__name__)


class UnreadableError(DataError):
    """A sample whose file is missing or broken."""


class Samples(ABC):
    """Inputs and targets; `targets` is (N,) or (N, K) on the CPU and always in memory."""

    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def input(self, index: int) -> Tensor:
        """One input, uint8 (C, H, W), float32 or int64. Raises DataError when it cannot be read."""

    @abstractmethod
    def take(self, indices: Tensor) -> Samples:
        """The samples at `indices` (n,) int64, in that order."""

    @abstractmethod
    def with_targets(self, targets: Tensor) -> Samples:
        """The same inputs with other targets."""

    def tell_corrupt(self) -> None:  # noqa: B027  # most kinds have nothing to tell
        """Log which samples were found that cannot be read, if there are new ones."""

    @abstractmethod
    def describe(self, index: int) -> str:
        """What people can find this sample by: its file, else its number."""


@dataclass(frozen=True)
class TensorSamples(Samples):
    """All inputs in one tensor (N, ...)."""

    inputs: Tensor
    targets: Tensor

    def input(self, index: int) -> Tensor:
        return self.inputs[index]

    def take(self, indices: Tensor) -> TensorSamples:
        return TensorSamples(self.inputs[indices], self.targets[indices])

    def with_targets(self, targets: Tensor) -> TensorSamples:
        return TensorSamples(self.inputs, targets)

    def describe(self, index: int) -> str:
        return f"sample {index}"


@dataclass(frozen=True)
class StoredSamples(Samples):
    """Inputs that a map-style data set reads or computes one by one; its own targets are not used."""

    dataset: Any
    targets: Tensor
    fixed: bool
    """Whether an input is the same each time it is read, so that it may be read once and kept."""
    paths: Sequence[str] | None = None
    """The file of each of the data set's samples, where there is one to each."""
    indices: Tensor | None = None
    """Which of the data set's samples these are, (N,) int64; all when None."""

    corrupt: CorruptSamples | None = None
    """Where samples that cannot be read are passed over; None where they end the run."""

    def input(self, index: int) -> Tensor:
        if self.corrupt is None:
            return self._read(index)
        for other in (*range(index, len(self)), *range(index)):
            if (place := self._place(other)) in self.corrupt:
                continue
            try:
                found = self._read(other)
            except UnreadableError as error:
                self.corrupt.add(place, error)
            else:
                # The next one stands in for it, with its target.
                self.targets[index] = self.targets[other]
                return found
        raise DataError("data: not one sample can be read")

    def tell_corrupt(self) -> None:
        """Log which samples were found that cannot be read, if there are new ones."""
        if self.corrupt is None or not (places := self.corrupt.places()):
            return
        names = [self.paths[place] if self.paths else f"sample {place}" for place in places[:NAMED]]
        more = ", ..." if len(places) > NAMED else ""
        log.warning(
            "data: %s cannot be read, the next ones stand in: %s%s",
            f"{len(places):,} sample{'s' * (len(places) > 1)}",
            ", ".join(names),
            more,
        )

    def _read(self, index: int) -> Tensor:
        try:
            return to_tensor(self.dataset[self._place(index)][0])
        except (OSError, SyntaxError) as error:
            # PIL raises SyntaxError for some broken files; an OSError may name the file or not.
            raise UnreadableError(f"data: cannot read {self.describe(index)}: {error}") from error

    def take(self, indices: Tensor) -> StoredSamples:
        places = indices if self.indices is None else self.indices[indices]
        return replace(self, targets=self.targets[indices], indices=places)

    def with_targets(self, targets: Tensor) -> StoredSamples:
        return replace(self, targets=targets)

    def describe(self, index: int) -> str:
        return self.path(index) or f"sample {self._place(index)}"

    def path(self, index: int) -> str | None:
        """The file of a sample."""
        return None if self.paths is None else self.paths[self._place(index)]

    def _place(self, index: int) -> int:
        return index if self.indices is None else int(self.indices[index])


@dataclass(frozen=True)
class Parts:
    """What a source gives: a training part, and a validation and test part where it brings them."""

    train: Samples
    val: Samples | None = None
    test: Samples | None = None
    task: TaskType | None = None
    """Set by a source that knows; else it is found from the targets."""
    class_names: list[str] = field(default_factory=list)
    unscaled: Tensor | None = None
    """Features (F,) bool that are never normalised: categories as zeros and ones."""
    fill_missing: bool = False
    """Whether inputs that are nan are missing values, to be filled with the training part's mean."""
    notes: list[str] = field(default_factory=list)

    @property
    def present(self) -> dict[str, Samples]:
        """The parts that there are, by name."""
        named = {"training": self.train, "validation": self.val, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}
