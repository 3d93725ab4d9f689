"""Samples in memory: a dataset is read once into a tensor, and batches are cut from the tensor.

No Python code runs per sample, and batches are cut on the device if the tensor is stored there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from torchconsole.engine.components.data.batched_transforms import BatchedTransform
from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, MapStyleDataset
from torchconsole.engine.components.data.loader import (
    BatchFetcher,
    LoaderEvalBatches,
    LoaderOptions,
    LoaderTrainBatches,
    sizes_differ,
)
from torchconsole.engine.components.data.mean_std import Normalizer
from torchconsole.engine.components.data.order import TrainOrder
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.components.data.types import EvalBatches, TrainBatches
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.protocol.events import ReportPhase

READ_BATCH_SIZE = 64
"""Samples per request while a dataset is read."""

BLOCK_BYTES = 2**20
"""Bytes of inputs that are gathered and normalized at once: small batches cost less together."""


def is_same_each_epoch(dataset: BaseDataset, transform: Transform | None) -> bool:
    """Whether samples, once read and transformed, can be used in every epoch."""
    fixed = not isinstance(dataset, MapStyleDataset) or dataset.fixed
    return fixed and (transform is None or not transform.random)


def is_in_memory(fetcher: BatchFetcher) -> bool:
    """Whether the samples are in memory already in the form that would be kept."""
    return isinstance(fetcher.dataset, InMemoryDataset) and fetcher.transform is None


def read_into_memory(
    fetcher: BatchFetcher, example: Tensor, options: LoaderOptions, name: str, report: ReportPhase
) -> InMemoryDataset:
    """Read all samples of the `name` set into one tensor (N, *example.shape); `example` is the first input.

    Raises DataError for a sample that cannot be read, SizesDifferError for one of another shape.
    """
    dataset = fetcher.dataset
    if isinstance(dataset, InMemoryDataset) and fetcher.transform is None:
        return dataset
    inputs = torch.empty(len(dataset), *example.shape, dtype=example.dtype)
    targets = torch.empty_like(dataset.targets)
    progress = PhaseProgress(report, "decoding samples", len(dataset), subject=f"{name} set")
    start = 0
    batches = LoaderEvalBatches(fetcher, READ_BATCH_SIZE, 0, options, finish=lambda batch: batch)
    for batch, batch_targets in batches:
        if batch.shape[1:] != example.shape or batch.dtype != example.dtype:
            raise sizes_differ((dataset.describe(0), example), (dataset.describe(start), batch[0]))
        inputs[start : start + len(batch)] = batch
        targets[start : start + len(batch)] = batch_targets
        start += len(batch)
        progress.advance(len(batch))
    return InMemoryDataset(inputs, targets)


@dataclass(frozen=True)
class Placement:
    """Where tensors are stored, where their batches go, and what is done to a batch of inputs there."""

    storage: torch.device
    device: torch.device
    finish: Callable[[Tensor], Tensor]


class TensorTrainBatches:
    """The training set (N, ...), cut by index; each batch is transformed again in each epoch."""

    def __init__(
        self,
        dataset: InMemoryDataset,
        order: TrainOrder,
        placement: Placement,
        transform: BatchedTransform | None = None,
    ) -> None:
        self._inputs = dataset.inputs.to(placement.storage)
        self._targets = dataset.targets.to(placement.storage)
        self._order = order
        self._placement = placement
        self._transform = transform
        self._batches_per_block = 1
        if transform is None:
            batch_bytes = 4 * order.batch_size * self._inputs[0].numel()
            self._batches_per_block = max(1, BLOCK_BYTES // batch_bytes)
        self.batches_per_epoch = order.steps
        self.samples_per_epoch = order.samples

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See `TrainBatches.epoch`."""
        size, per_block = self._order.batch_size, self._batches_per_block
        order, stream = self._order.of(epoch).to(self._placement.storage), self._order.stream(epoch)
        # Blocks are counted from the start of the epoch, so that a batch has the same place in its block
        # wherever the epoch begins: sums of floats may depend on how their terms are aligned in memory.
        skipped = start % per_block
        for position in range((start - skipped) * size, len(order), per_block * size):
            block = self._gather(order[position : position + per_block * size], stream, position)
            # With `split`, autograd would refuse models that write to their inputs.
            batches = (torch.unsafe_split(tensor, size) for tensor in block)
            yield from islice(zip(*batches, strict=True), skipped, None)
            skipped = 0

    def _gather(self, index: Tensor, stream: int, position: int) -> tuple[Tensor, Tensor]:
        """Return the samples of one or more batches, on the device and ready for the model."""
        device = self._placement.device
        inputs = _to_device(self._inputs.index_select(0, index), device)
        targets = _to_device(self._targets.index_select(0, index), device)
        if self._transform is not None:
            inputs = self._transform(inputs, stream, position)
        return self._placement.finish(inputs), targets


class TensorEvalBatches:
    """A validation or test set (N, ...), cut in order."""

    def __init__(self, dataset: InMemoryDataset, batch_size: int, placement: Placement) -> None:
        self._inputs = dataset.inputs.to(placement.storage)
        self._targets = dataset.targets.to(placement.storage)
        self._batch_size = batch_size
        self._placement = placement
        self.samples = len(dataset)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        device, finish = self._placement.device, self._placement.finish
        for start in range(0, self.samples, self._batch_size):
            part = slice(start, start + self._batch_size)
            # Copied, because a model may write to its inputs.
            inputs, targets = self._inputs[part].clone(), self._targets[part].clone()
            yield finish(_to_device(inputs, device)), _to_device(targets, device)


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batches of one set: from tensors if it is kept in memory, else with a loader."""

    storage: torch.device
    options: LoaderOptions
    normalizer: Normalizer
    seed: int
    eval_batch_size: int

    def train(
        self,
        fetcher: BatchFetcher,
        kept: InMemoryDataset | None,
        order: TrainOrder,
        transform: BatchedTransform | None,
    ) -> TrainBatches:
        if kept is None:
            return LoaderTrainBatches(fetcher, order, self.options, self.normalizer)
        dataset, placement = self._prepare(kept, normalize_once=transform is None)
        return TensorTrainBatches(dataset, order, placement, transform)

    def evaluation(self, fetcher: BatchFetcher, kept: InMemoryDataset | None) -> EvalBatches:
        if kept is None:
            return LoaderEvalBatches(fetcher, self.eval_batch_size, self.seed, self.options, self.normalizer)
        dataset, placement = self._prepare(kept, normalize_once=True)
        return TensorEvalBatches(dataset, self.eval_batch_size, placement)

    def _prepare(self, kept: InMemoryDataset, normalize_once: bool) -> tuple[InMemoryDataset, Placement]:
        """Store the tensors. Floats are normalized here once; bytes per batch, because they are smaller."""
        device = self.options.device
        inputs = kept.inputs.to(self.storage)
        if inputs.dtype == torch.uint8 or self.storage != device or not normalize_once:
            placement = Placement(self.storage, device, self.normalizer)
            return InMemoryDataset(inputs, kept.targets), placement
        normalized = InMemoryDataset(self.normalizer(inputs), kept.targets)
        return normalized, Placement(self.storage, device, lambda batch: batch)


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return `tensor` on `device`. The host does not wait for a GPU: the copy is from pinned memory."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
