"""Makes a batch from a request: reads each sample, transforms it with random numbers of its own, stacks them.

Runs in loader processes and in the training process alike, with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from torchconsole.engine.components.data.order import sample_seed
from torchconsole.engine.components.data.randomness import preserved_randomness, seed_sample
from torchconsole.engine.components.data.samples import Samples
from torchconsole.engine.components.data.shared_memory import FULL
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.errors import DataError


class BatchRequest(NamedTuple):
    """Which samples a batch has, and where their random numbers come from."""

    stream: int
    position: int
    """Of the batch's first sample in the stream."""
    indices: list[int]


class Fetcher(Dataset["tuple[Tensor, Tensor] | DataError"]):
    """Answers requests with (inputs (B, ...), targets (B, ...)) on the CPU, not yet normalised.

    What is wrong with the data is returned, not raised: a loader would wrap it in its own traceback.
    """

    def __init__(self, samples: Samples, transform: Transform | None) -> None:
        self.samples = samples
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, request: BatchRequest) -> tuple[Tensor, Tensor] | DataError:
        try:
            if get_worker_info() is not None:
                return _shared(*self._fetch(request))
            with preserved_randomness():
                return self._fetch(request)
        except DataError as error:
            return error

    def _fetch(self, request: BatchRequest) -> tuple[Tensor, Tensor]:
        inputs = []
        for offset, index in enumerate(request.indices):
            seed_sample(sample_seed(request.stream, request.position + offset))
            inputs.append(self.input(index))
        self._check_equal(inputs, request.indices)
        return torch.stack(inputs), self.samples.targets[request.indices]

    def input(self, index: int) -> Tensor:
        """One transformed input, with the random numbers that are in force. Raises DataError."""
        found = self.samples.input(index)
        return found if self.transform is None else self.transform(found)

    def _check_equal(self, inputs: Sequence[Tensor], indices: Sequence[int]) -> None:
        first = inputs[0]
        for tensor, index in zip(inputs, indices, strict=True):
            if tensor.shape != first.shape or tensor.dtype != first.dtype:
                names = self.samples.describe(indices[0]), self.samples.describe(index)
                raise different_sizes((names[0], first), (names[1], tensor))


def _shared(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both in shared memory. Raises DataError where that is full, as the queue's own thread cannot."""
    try:
        for tensor in (inputs, targets):
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError) as error:
        raise DataError(f"data: a loader process cannot hand over its batch: {FULL}") from error
    return inputs, targets


class SizesDifferError(DataError):
    """Inputs of different shapes, which cannot be in one batch."""


def different_sizes(one: tuple[str, Tensor], other: tuple[str, Tensor]) -> SizesDifferError:
    """The message for two samples, each a name and an input, that cannot be in one batch."""
    (name, first), (other_name, second) = one, other
    if first.ndim == 3 and second.ndim == 3 and len(first) != len(second):
        advice = "add { name = 'RGB' } or { name = 'Grayscale' } to data.transforms.train and .val"
    elif first.ndim == 3 and second.ndim == 3:
        advice = "add Resize and CenterCrop, or RandomResizedCrop, to data.transforms.train and .val"
    else:
        advice = "all inputs must have one shape"
    return SizesDifferError(
        f"data: inputs differ in size: {name} is {_size(first)}, {other_name} is {_size(second)}; {advice}"
    )


def _size(tensor: Tensor) -> str:
    if tensor.ndim != 3:
        return f"{tuple(tensor.shape)} {tensor.dtype}".replace("torch.", "")
    channels, height, width = tensor.shape
    return f"{width}x{height} with {channels} channel{'s' * (channels > 1)}"
