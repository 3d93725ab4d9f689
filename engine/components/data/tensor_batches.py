"""Batches that are cut from tensors in memory.

No Python code runs per sample, and batches are cut on the device if the tensors are stored there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from torchconsole.engine.components.data.batched_transforms import BatchedTransform
from torchconsole.engine.components.data.datasets import InMemoryDataset
from torchconsole.engine.components.data.loader import Finish
from torchconsole.engine.components.data.order import TrainOrder

BLOCK_BYTES = 2**20
"""Bytes of inputs that are gathered and normalized at once: small batches cost less together."""


@dataclass(frozen=True)
class Placement:
    """Where tensors are stored, where their batches go, and what is done to a batch of inputs there."""

    storage: torch.device
    device: torch.device
    finish: Finish

    def store(self, dataset: InMemoryDataset, *, finish_once: bool) -> tuple[Tensor, Tensor, Finish]:
        """Return the inputs and targets on `storage`, and what is left to do to each batch of inputs.

        With `finish_once`, floats that are stored on the device are finished here; bytes always per batch,
        because they are smaller.
        """
        inputs, targets = dataset.inputs.to(self.storage), dataset.targets.to(self.storage)
        if finish_once and inputs.dtype != torch.uint8 and self.storage == self.device:
            if not dataset.owned and inputs is dataset.inputs:
                return self.finish(inputs), targets, _unchanged
            # In place, since a second copy might not fit into memory.
            rows = max(1, BLOCK_BYTES // max(1, inputs[0].nbytes))
            for block in torch.split(inputs, rows):
                block.copy_(self.finish(block))
            return inputs, targets, _unchanged
        return inputs, targets, self.finish


class TensorTrainBatches:
    """The training set (N, ...), cut by index; each batch is transformed again in each epoch."""

    def __init__(
        self,
        dataset: InMemoryDataset,
        order: TrainOrder,
        placement: Placement,
        transform: BatchedTransform | None = None,
    ) -> None:
        self._inputs, self._targets, self._finish = placement.store(dataset, finish_once=transform is None)
        self._order = order
        self._placement = placement
        self._transform = transform
        self._batches_per_block = 1
        if transform is None:
            batch_bytes = 4 * order.batch_size * self._inputs[0].numel()
            self._batches_per_block = max(1, BLOCK_BYTES // batch_bytes)
        self.batches_per_epoch = order.batches_per_epoch
        self.samples_per_epoch = order.samples_per_epoch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See `TrainBatches.epoch`."""
        size, per_block = self._order.batch_size, self._batches_per_block
        indices = self._order.own_indices(epoch).to(self._placement.storage)
        stream = self._order.transform_stream(epoch)
        # Blocks are counted from the start of the epoch, so that a batch has the same place in its block
        # wherever the epoch begins: sums of floats may depend on how their terms are aligned in memory.
        skipped = start % per_block
        for position in range((start - skipped) * size, len(indices), per_block * size):
            block = self._gather(indices[position : position + per_block * size], stream, position // size)
            # With `split`, autograd would refuse models that write to their inputs.
            batches = (torch.unsafe_split(tensor, size) for tensor in block)
            yield from islice(zip(*batches, strict=True), skipped, None)
            skipped = 0

    def _gather(self, indices: Tensor, stream: int, batch: int) -> tuple[Tensor, Tensor]:
        """Return the samples of `batch` and maybe more, on the device and ready for the model."""
        device = self._placement.device
        inputs = _to_device(self._inputs.index_select(0, indices), device)
        targets = _to_device(self._targets.index_select(0, indices), device)
        if self._transform is not None:
            part = self._order.part(batch)
            inputs = self._transform(inputs, stream, part.first, part)
        return self._finish(inputs), targets


class TensorEvalBatches:
    """A validation or test set (N, ...), or the `rows` of it that this process has, cut in order."""

    def __init__(
        self, dataset: InMemoryDataset, batch_size: int, placement: Placement, rows: range | None = None
    ) -> None:
        self._inputs, self._targets, self._finish = placement.store(dataset, finish_once=True)
        self._batch_size = batch_size
        self._device = placement.device
        self.rows = range(len(dataset)) if rows is None else rows
        self.samples = len(self.rows)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(self.rows.start, self.rows.stop, self._batch_size):
            rows = slice(start, min(start + self._batch_size, self.rows.stop))
            # Copied, because a model may write to its inputs.
            inputs, targets = self._inputs[rows].clone(), self._targets[rows].clone()
            yield self._finish(_to_device(inputs, self._device)), _to_device(targets, self._device)


def _unchanged(inputs: Tensor) -> Tensor:
    return inputs


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return `tensor` on `device`. The host does not wait for a GPU: the copy is from pinned memory."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
