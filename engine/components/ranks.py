"""The processes that train one model together. A process that trains alone is a job of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

from torchconsole.engine.config.schema import DistributedConfig

T = TypeVar("T")


class Ranks:
    """A job of one process. `distributed.job.Job` is one of several, and does the same with all of them.

    Each process must call the methods in the same order as all others.
    """

    rank = 0
    """Number of this process, from 0. The first one leads: it has the run's folder and takes commands."""
    size = 1
    """Number of processes."""
    local_size = 1
    """Number of those on this machine, which share its memory and its cores."""

    averages_in_backward = False
    """Whether backward passes wait for the gradients of the other processes once their own are computed."""
    on_buffers: Callable[[], None] = staticmethod(lambda: None)
    """Called in a forward pass when the leader's buffers have arrived."""

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds only a part of every weight; the weights are DTensors then."""
        return False

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that has the run's folder and takes commands."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes, on its device."""
        return value

    def totals(self, *values: Tensor | float) -> Sequence[Tensor | float]:
        """Return the sum of each of some numbers over all processes. The host may wait for the device."""
        return values

    def mean_losses(
        self, losses: list[float], counts: Sequence[int]
    ) -> tuple[Sequence[float], Sequence[int]]:
        """Return the mean of each loss over the samples of all processes, and how many these are."""
        return losses, counts

    def gather(self, item: T) -> list[T]:
        """Return the items of all processes, in the order of their ranks. They travel through host memory."""
        return [item]

    def of_leader(self, item: T) -> T:
        """Return the leader's item."""
        return item

    def at_disk(self) -> AbstractContextManager[None]:
        """Return a context for waiting for the disk with the checkpoints, which may take long."""
        return nullcontext()

    def share_buffers(self, *modules: nn.Module) -> None:
        """Give all processes the leader's buffers, such as the statistics of batch normalization."""

    def replicate(self, model: nn.Module) -> nn.Module:
        """Return what computes `model` in training, so that backward passes average the gradients of all."""
        return model

    def synchronize(self, is_last: bool) -> None:
        """Say before a forward pass whether its backward pass is the last of its step."""


ALONE = Ranks()


class PlannedRanks(Ranks):
    """Processes that are not started: this one stands for the first, to see what they would do."""

    def __init__(self, size: int) -> None:
        self.size = self.local_size = size


def planned_ranks(config: DistributedConfig) -> Ranks:
    """Return the processes that a preset asks for, all on this machine."""
    count = max(1, torch.cuda.device_count()) if config.processes == "auto" else config.processes
    return ALONE if count == 1 else PlannedRanks(count)
