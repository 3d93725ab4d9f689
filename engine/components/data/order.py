"""The order of an epoch's samples and the seed of each sample: pure functions of (seed, epoch, position).

A resumed run therefore continues in the middle of an epoch with the same samples and the same random
transforms, whatever the number of data loader workers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SPLITMIX_INCREMENT = 0x9E3779B97F4A7C15
"""Added to the state of splitmix64 for each number (Steele, Lea and Flood 2014)."""

ORDER, TRANSFORM, SPLIT, EVALUATE, MIX, MEASURE, RANK = range(7)
"""What random numbers are drawn for; each purpose has its own stream."""


def stream_seed(seed: int, epoch: int, purpose: int) -> int:
    """Return the seed of one purpose in one epoch (0 if it does not depend on the epoch); below 2**63."""
    return int(np.random.SeedSequence([seed, epoch, purpose]).generate_state(1, np.uint64)[0]) % 2**63


def sample_seed(stream: int, position: int) -> int:
    """Return the seed of the sample at `position` of a stream, below 2**63. A microsecond, by splitmix64."""
    mixed = (stream + (position + 1) * SPLITMIX_INCREMENT) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (mixed ^ (mixed >> 31)) >> 1


class Part(NamedTuple):
    """The part of a batch that one process has."""

    first: int
    """Position in the epoch of the first sample of the batch."""
    before: int
    """Samples of the batch before this part."""
    samples: int
    """Samples in this part."""
    size: int
    """Samples in the batch."""

    @property
    def position(self) -> int:
        """Position in the epoch of the first sample of this part."""
        return self.first + self.before


@dataclass(frozen=True)
class TrainOrder:
    """The order of the training set in each epoch, and how it is cut into batches."""

    seed: int
    count: int
    batch_size: int
    drop_last: bool = False
    classes: Tensor | None = None
    """Class of each sample, (count,) int64. If given, each class is drawn equally often, with replacement."""
    rank: int = 0
    processes: int = 1
    """Processes that train together. Each has its part of every batch, `batch_size` samples."""

    @property
    def whole_batch(self) -> int:
        """Samples in a full batch, those of all processes together."""
        return self.batch_size * self.processes

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in an epoch, including a short last one unless it is dropped."""
        return self.count // self.whole_batch if self.drop_last else -(-self.count // self.whole_batch)

    @property
    def samples_per_epoch(self) -> int:
        """Number of samples in these batches, over all processes."""
        return self.batches_per_epoch * self.whole_batch if self.drop_last else self.count

    def part(self, batch: int) -> Part:
        """Return this process's part of a batch, from 0. Without samples of its own, it is the first part.

        A process must run each batch forward and backward, and counts such samples with the weight 0.
        """
        first = batch * self.whole_batch
        size = min(self.whole_batch, self.samples_per_epoch - first)
        before = self.rank * self.batch_size
        if before >= size:
            before = 0
        return Part(first, before, min(self.batch_size, size - before), size)

    def own_indices(self, epoch: int) -> Tensor:
        """Return the indices of the parts of this process, one after the other, (samples,) int64."""
        indices = self.indices(epoch)
        if self.processes == 1:
            return indices
        parts = [self.part(batch) for batch in range(self.batches_per_epoch)]
        return torch.cat([indices[part.position : part.position + part.samples] for part in parts])

    def indices(self, epoch: int) -> Tensor:
        """Return the indices of the samples of `epoch` (from 0) in their order, (samples,) int64."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, epoch, ORDER))
        if self.classes is None:
            order = torch.randperm(self.count, generator=generator)
        else:
            order = _balanced(self.classes, generator)
        return order[: self.samples_per_epoch]

    def transform_stream(self, epoch: int) -> int:
        """Return the stream seed of the epoch's transforms, which is independent of its order."""
        return stream_seed(self.seed, epoch, TRANSFORM)


def _balanced(classes: Tensor, generator: torch.Generator) -> Tensor:
    """Draw as many indices as there are samples, each class equally often (to within one), (count,) int64."""
    count = len(classes)
    present, class_index, sizes = torch.unique(classes, return_inverse=True, return_counts=True)
    by_class = class_index.argsort(stable=True)
    starts = sizes.cumsum(0) - sizes
    shuffled = torch.randperm(len(present), generator=generator)
    drawn = shuffled.repeat(-(-count // len(present)))[:count][torch.randperm(count, generator=generator)]
    member = (torch.rand(count, generator=generator, dtype=torch.float64) * sizes[drawn]).long()
    order: Tensor = by_class[starts[drawn] + member]
    return order


def seed_sample(seed: int) -> None:
    """Seed what transforms and datasets draw from: the generators of Python, NumPy and torch (CPU)."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    # torch.manual_seed also seeds every device, which takes a hundred times as long.
    torch.default_generator.manual_seed(seed)


@contextmanager
def preserved_randomness() -> Iterator[None]:
    """Restore the state of the process's random number generators on exit."""
    python, numpy, default = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(default)
