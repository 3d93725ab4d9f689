"""Batches that are made sample by sample, in this process or ahead of time by data loader workers."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from torchconsole.engine.components.data.datasets import BaseDataset
from torchconsole.engine.components.data.loader_worker import SHARED_MEMORY_FULL, held_signals, prepare_worker
from torchconsole.engine.components.data.order import (
    EVALUATE,
    TrainOrder,
    preserved_randomness,
    sample_seed,
    seed_sample,
    stream_seed,
)
from torchconsole.engine.components.data.prefetch import Finish, LoadedBatch, prefetch
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.components.torch_compat import set_loader_shutdown_seconds, shut_down_workers
from torchconsole.engine.errors import DataError

# torch's own five seconds, twice, are too long to wait for a worker that hangs.
set_loader_shutdown_seconds(0.5)

_loaders_with_workers: weakref.WeakSet[DataLoader[Any]] = weakref.WeakSet()


@dataclass(frozen=True)
class LoaderOptions:
    """How a loader makes its batches and where they go."""

    device: torch.device
    num_workers: int
    pin_memory: bool
    timeout: float
    """Seconds without a batch after which a worker counts as hanging."""


class LoaderTrainBatches:
    """The training set; each sample is read and transformed again in each epoch."""

    def __init__(
        self, fetcher: BatchFetcher, order: TrainOrder, options: LoaderOptions, finish: Finish
    ) -> None:
        self._requests = _TrainRequests(order)
        self._loader = _make_loader(fetcher, self._requests, options)
        self._prefetch = functools.partial(prefetch, device=options.device, finish=finish)
        self._dataset = fetcher.dataset
        self.batches_per_epoch = order.steps
        self.samples_per_epoch = order.samples

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See `TrainBatches.epoch`. An iteration that was left early ends when the next one begins."""
        self._requests.epoch, self._requests.start = epoch, start
        yield from self._prefetch(_begin(self._loader))
        self._dataset.log_corrupt_samples()


class LoaderEvalBatches:
    """A validation or test set; a random transform draws the same numbers in each pass."""

    def __init__(
        self, fetcher: BatchFetcher, batch_size: int, seed: int, options: LoaderOptions, finish: Finish
    ) -> None:
        requests = _EvalRequests(len(fetcher), batch_size, stream_seed(seed, 0, EVALUATE))
        self._loader = _make_loader(fetcher, requests, options)
        self._prefetch = functools.partial(prefetch, device=options.device, finish=finish)
        self._dataset = fetcher.dataset
        self.samples = len(fetcher)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from self._prefetch(_begin(self._loader))
        self._dataset.log_corrupt_samples()


class BatchRequest(NamedTuple):
    """The samples of a batch and the origin of their random numbers."""

    stream: int
    position: int
    """Position of the batch's first sample in the stream."""
    indices: list[int]


class BatchFetcher(Dataset[LoadedBatch]):
    """Makes the batch of a request: reads, transforms (each with its own random numbers) and stacks samples.

    Gives inputs (B, ...) and targets (B, ...) on the CPU, not yet normalized; the same ones in a worker as in
    the training process. A DataError is returned, not raised: a DataLoader would wrap it in a traceback.
    """

    def __init__(self, dataset: BaseDataset, transform: Transform | None) -> None:
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, request: BatchRequest) -> LoadedBatch:
        try:
            if get_worker_info() is not None:
                return _share_memory(*self._fetch(request))
            with preserved_randomness():
                return self._fetch(request)
        except DataError as error:
            return error

    def _fetch(self, request: BatchRequest) -> tuple[Tensor, Tensor]:
        inputs, indices = [], []
        for offset, wanted in enumerate(request.indices):
            seed_sample(sample_seed(request.stream, request.position + offset))
            raw, index = self.dataset.read(wanted)
            inputs.append(self._transformed(raw))
            indices.append(index)
        self._check_same_shape(inputs, indices)
        return torch.stack(inputs), self.dataset.targets[indices]

    def input(self, index: int) -> Tensor:
        """Return one transformed input, with the current random numbers. Raises DataError."""
        return self._transformed(self.dataset.input(index))

    def _transformed(self, raw: Tensor) -> Tensor:
        return raw if self.transform is None else self.transform(raw)

    def _check_same_shape(self, inputs: Sequence[Tensor], indices: Sequence[int]) -> None:
        first = inputs[0]
        for tensor, index in zip(inputs, indices, strict=True):
            if tensor.shape != first.shape or tensor.dtype != first.dtype:
                names = self.dataset.describe(indices[0]), self.dataset.describe(index)
                raise sizes_differ((names[0], first), (names[1], tensor))


class SizesDifferError(DataError):
    """Inputs of different shapes, which cannot be in one batch."""


def sizes_differ(one: tuple[str, Tensor], other: tuple[str, Tensor]) -> SizesDifferError:
    """Return the error for two samples, each a name and an input, that cannot be in one batch."""
    (name, first), (other_name, second) = one, other
    if first.ndim == 3 and second.ndim == 3 and len(first) != len(second):
        advice = "add { name = 'RGB' } or { name = 'Grayscale' } to data.transforms.train and .val"
    elif first.ndim == 3 and second.ndim == 3:
        advice = "add Resize and CenterCrop, or RandomResizedCrop, to data.transforms.train and .val"
    else:
        advice = "all inputs must have the same shape"
    return SizesDifferError(
        f"data: inputs differ in size: {name} is {_format_size(first)}, {other_name} is "
        f"{_format_size(second)}; {advice}"
    )


def _format_size(tensor: Tensor) -> str:
    if tensor.ndim != 3:
        return f"{tuple(tensor.shape)} {tensor.dtype}".replace("torch.", "")
    channels, height, width = tensor.shape
    return f"{width}x{height} with {channels} channel{'s' * (channels > 1)}"


def _share_memory(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Move both to shared memory here: if it is full, the thread of the worker's queue could not report it.

    Raises DataError if shared memory is full.
    """
    try:
        for tensor in (inputs, targets):
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"data: a data loader worker cannot return its batch: {SHARED_MEMORY_FULL}"
        ) from error
    return inputs, targets


class _TrainRequests:
    """The batches of one epoch from `start` on; set both before iterating."""

    def __init__(self, order: TrainOrder) -> None:
        self._order = order
        self.epoch = 0
        self.start = 0

    def __iter__(self) -> Iterator[BatchRequest]:
        order, size = self._order.of(self.epoch), self._order.batch_size
        stream = self._order.stream(self.epoch)
        for position in range(self.start * size, len(order), size):
            yield BatchRequest(stream, position, order[position : position + size].tolist())


@dataclass(frozen=True)
class _EvalRequests:
    """All batches, in order."""

    count: int
    batch_size: int
    stream: int

    def __iter__(self) -> Iterator[BatchRequest]:
        for position in range(0, self.count, self.batch_size):
            indices = list(range(position, min(position + self.batch_size, self.count)))
            yield BatchRequest(self.stream, position, indices)


def _make_loader(fetcher: BatchFetcher, requests: Any, options: LoaderOptions) -> DataLoader[Any]:
    """Return a loader whose items are whole batches. Its workers end with the thread that iterates first."""
    workers = options.num_workers
    loader: DataLoader[Any] = DataLoader(
        fetcher,
        batch_size=None,
        sampler=requests,
        collate_fn=_identity,
        num_workers=workers,
        pin_memory=options.pin_memory,
        persistent_workers=workers > 0,
        # Forked, so that the user's own dataset needs no pickling and its tensors are shared, not copied.
        multiprocessing_context="fork" if workers else None,
        timeout=options.timeout if workers else 0,
        worker_init_fn=functools.partial(prepare_worker, os.getpid()) if workers else None,
        # A DataLoader draws a number in each pass: from the training's generator unless it has its own.
        generator=torch.Generator(),
    )
    if workers:
        _loaders_with_workers.add(loader)
    return loader


def _begin(loader: DataLoader[Any]) -> Iterator[Any]:
    """Begin a pass over a loader; the first pass starts the workers."""
    with held_signals():
        return iter(loader)


@atexit.register
def _end_workers() -> None:
    """Shut down all workers; otherwise multiprocessing terminates them, which torch reports as a failure.

    Kill those that hang, whose loader may be gone by now: multiprocessing would wait for them forever.
    """
    for loader in _loaders_with_workers:
        shut_down_workers(loader)
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def _identity(batch: Any) -> Any:
    return batch
