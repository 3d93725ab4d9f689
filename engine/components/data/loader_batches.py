"""Batches that are made sample by sample, in this process or ahead of time by loader processes."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from torchconsole.engine.components.data.delivering import Finish, deliver
from torchconsole.engine.components.data.fetching import BatchRequest, Fetcher
from torchconsole.engine.components.data.order import EVALUATE, TrainOrder, stream_seed
from torchconsole.engine.components.data.worker_process import held_signals, prepare_worker
from torchconsole.engine.components.torch_compat import set_loader_shutdown_seconds, shut_down_workers

# torch's own five seconds, twice, are too long to wait for a worker that hangs.
set_loader_shutdown_seconds(0.5)

_with_workers: weakref.WeakSet[DataLoader[Any]] = weakref.WeakSet()


@dataclass(frozen=True)
class Loading:
    """How batches are brought to the device."""

    device: torch.device
    num_workers: int
    pin_memory: bool
    timeout: float
    """Seconds after which a loader process that gives nothing is taken to hang."""


class LoaderTrainBatches:
    """The training part, each sample read and transformed anew in each epoch."""

    def __init__(self, fetcher: Fetcher, order: TrainOrder, loading: Loading, finish: Finish) -> None:
        self._requests = _TrainRequests(order)
        self._loader = _make_loader(fetcher, self._requests, loading)
        self._deliver = functools.partial(deliver, device=loading.device, finish=finish)
        self._samples = fetcher.samples
        self.batches_per_epoch = order.steps
        self.samples_per_epoch = order.samples

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See `TrainBatches.epoch`. An iteration that is not used up ends when another one begins."""
        self._requests.epoch, self._requests.start = epoch, start
        yield from self._deliver(_begin(self._loader))
        self._samples.tell_corrupt()


class LoaderEvalBatches:
    """A validation or test part; a random transform draws the same numbers in each pass."""

    def __init__(
        self, fetcher: Fetcher, batch_size: int, seed: int, loading: Loading, finish: Finish
    ) -> None:
        requests = _EvalRequests(len(fetcher), batch_size, stream_seed(seed, 0, EVALUATE))
        self._loader = _make_loader(fetcher, requests, loading)
        self._deliver = functools.partial(deliver, device=loading.device, finish=finish)
        self._samples = fetcher.samples
        self.samples = len(fetcher)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from self._deliver(_begin(self._loader))
        self._samples.tell_corrupt()


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


def _make_loader(fetcher: Fetcher, requests: Any, loading: Loading) -> DataLoader[Any]:
    """A loader whose every item is a whole batch. Its processes end with the thread that iterates first."""
    workers = loading.num_workers
    loader: DataLoader[Any] = DataLoader(
        fetcher,
        batch_size=None,
        sampler=requests,
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=loading.pin_memory,
        persistent_workers=workers > 0,
        # Forked, so that the user's own data set needs no pickling and its tensors are shared, not copied.
        multiprocessing_context="fork" if workers else None,
        timeout=loading.timeout if workers else 0,
        worker_init_fn=functools.partial(prepare_worker, os.getpid()) if workers else None,
        # It draws a number in each pass: from the training's own generator, unless it has one.
        generator=torch.Generator(),
    )
    if workers:
        _with_workers.add(loader)
    return loader


def _begin(loader: DataLoader[Any]) -> Iterator[Any]:
    """One pass over a loader; the first one starts its processes."""
    with held_signals():
        return iter(loader)


@atexit.register
def _end_workers() -> None:
    """End all loader processes; else multiprocessing terminates them, which torch takes for a failure.

    One that hangs is killed, its loader may be gone by now: multiprocessing would wait for it for ever.
    """
    for loader in _with_workers:
        shut_down_workers(loader)
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def _as_it_is(batch: Any) -> Any:
    return batch
