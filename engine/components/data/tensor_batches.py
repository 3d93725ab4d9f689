"""Batches cut from tensors in memory: no Python per sample, and no copies where they lie on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from torchconsole.engine.components.data.batched_transforms import BatchedTransform
from torchconsole.engine.components.data.datasets import InMemoryDataset
from torchconsole.engine.components.data.order import TrainOrder

AT_ONCE = 2**20
"""Bytes of inputs that are gathered and finished at once: small batches cost less together."""


@dataclass(frozen=True)
class Placing:
    """Where tensors are kept, where their batches go, and what is done to a batch of inputs there."""

    home: torch.device
    device: torch.device
    finish: Callable[[Tensor], Tensor]


class TensorTrainBatches:
    """The training part (N, ...), cut by index, each batch transformed anew."""

    def __init__(
        self,
        samples: InMemoryDataset,
        order: TrainOrder,
        placing: Placing,
        transform: BatchedTransform | None = None,
    ) -> None:
        self._inputs, self._targets = samples.inputs.to(placing.home), samples.targets.to(placing.home)
        self._order = order
        self._placing = placing
        self._transform = transform
        self._together = 1
        if transform is None:
            batch = 4 * order.batch_size * self._inputs[0].numel()
            self._together = max(1, AT_ONCE // batch)
        self.batches_per_epoch = order.steps
        self.samples_per_epoch = order.samples

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See `TrainBatches.epoch`."""
        size, together = self._order.batch_size, self._together
        order, stream = self._order.of(epoch).to(self._placing.home), self._order.stream(epoch)
        # Counted from the epoch's begin, so that a batch lies at the same place in its block wherever the
        # epoch is begun: sums of floats may depend on how their terms are aligned in memory.
        before = start % together
        for position in range((start - before) * size, len(order), together * size):
            block = self._gather(order[position : position + together * size], stream, position)
            # `split` would have autograd refuse models that write to their inputs.
            batches = (torch.unsafe_split(tensor, size) for tensor in block)
            yield from islice(zip(*batches, strict=True), before, None)
            before = 0

    def _gather(self, index: Tensor, stream: int, position: int) -> tuple[Tensor, Tensor]:
        """The samples of one or more batches, on the device and ready for the model."""
        device = self._placing.device
        inputs = _bring(self._inputs.index_select(0, index), device)
        targets = _bring(self._targets.index_select(0, index), device)
        if self._transform is not None:
            inputs = self._transform(inputs, stream, position)
        return self._placing.finish(inputs), targets


class TensorEvalBatches:
    """A validation or test part (N, ...), cut in order."""

    def __init__(self, samples: InMemoryDataset, batch_size: int, placing: Placing) -> None:
        self._inputs, self._targets = samples.inputs.to(placing.home), samples.targets.to(placing.home)
        self._batch_size = batch_size
        self._placing = placing
        self.samples = len(samples)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        device, finish = self._placing.device, self._placing.finish
        for start in range(0, self.samples, self._batch_size):
            part = slice(start, start + self._batch_size)
            # Copies, for models that write to their inputs.
            inputs, targets = self._inputs[part].clone(), self._targets[part].clone()
            yield finish(_bring(inputs, device)), _bring(targets, device)


def _bring(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. The host does not wait for a GPU, which takes it from pinned memory."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
