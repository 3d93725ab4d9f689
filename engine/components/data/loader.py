"""Batches that are made sample by sample, by this process or by data loader workers, and moved to the device.

On a GPU, the next batch is copied while the GPU computes with the current one.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import multiprocessing
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torchconsole.engine.components.data.loader_worker import (
    BatchFetcher,
    BatchRequest,
    LoadedBatch,
    blocked_signals,
    prepare_worker,
    sizes_differ,
)
from torchconsole.engine.components.data.order import EVALUATE, TrainOrder, stream_seed
from torchconsole.engine.components.torch_compat import (
    WatchedLoader,
    set_loader_shutdown_seconds,
    shut_down_workers,
)
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import TorchconsoleError

T = TypeVar("T")

Finish = Callable[[Tensor], Tensor]
"""Turns a batch of inputs on the device into what the model takes: `Normalizer`."""

# By default, torch waits five seconds for a worker that hangs, twice.
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

    @classmethod
    def of(cls, config: DataConfig, device: torch.device) -> LoaderOptions:
        """Return the options as a preset has them; no workers while their number is open."""
        pin_memory = device.type == "cuda" if config.pin_memory is None else config.pin_memory
        # What `auto` means is decided later, by how long a step takes.
        workers = 0 if config.num_workers == "auto" else config.num_workers
        return cls(device, workers, pin_memory, config.loader_timeout)


class LoaderTrainBatches:
    """The training set; every epoch reads and transforms each sample again."""

    def __init__(
        self, fetcher: BatchFetcher, order: TrainOrder, options: LoaderOptions, finish: Finish
    ) -> None:
        self._requests = _TrainRequests(order)
        self._loader = Loader(fetcher, self._requests, options)
        self._prefetch = functools.partial(prefetch, device=options.device, finish=finish)
        self._dataset = fetcher.dataset
        self.batches_per_epoch = order.batches_per_epoch
        self.samples_per_epoch = order.samples_per_epoch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See `TrainBatches.epoch`. Starting an epoch ends an iteration that was left early."""
        self._requests.epoch, self._requests.start = epoch, start
        yield from self._prefetch(self._loader)
        self._dataset.log_corrupt_samples()

    @property
    def num_workers(self) -> int:
        """Data loader workers that make the batches; 0 if this process does."""
        return self._loader.num_workers

    def use_workers(self, num_workers: int) -> None:
        """Have so many workers make the batches from the next pass on; with any number they are the same."""
        self._loader.use_workers(num_workers)

    def follow(self, config: DataConfig) -> None:
        """Make the batches from the next pass on with the options of this preset; they stay the same."""
        self._loader.follow(config)


class LoaderEvalBatches:
    """A validation or test set; random transforms draw the same numbers in each pass.

    A batch is made in parts of `part_size` samples: all workers share a large one, and it need not fit into
    shared memory. `rows` are the samples that this process has; default: all.
    """

    def __init__(
        self,
        fetcher: BatchFetcher,
        batch_size: int,
        part_size: int,
        seed: int,
        options: LoaderOptions,
        finish: Finish,
        rows: range | None = None,
    ) -> None:
        self.rows = range(len(fetcher)) if rows is None else rows
        requests = _EvalRequests(self.rows, batch_size, part_size, stream_seed(seed, 0, EVALUATE))
        self._parts_per_batch = -(-batch_size // part_size)
        self._loader = Loader(fetcher, requests, options)
        self._prefetch = functools.partial(prefetch, device=options.device, finish=finish)
        self._dataset = fetcher.dataset
        self.samples = len(self.rows)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        start = self.rows.start
        parts = map(_out_of_shared_memory, self._prefetch(self._loader))
        while batch := list(itertools.islice(parts, self._parts_per_batch)):
            yield self._join(batch, start)
            start += sum(len(targets) for _, targets in batch)
        self._dataset.log_corrupt_samples()

    def _join(self, parts: Sequence[tuple[Tensor, Tensor]], start: int) -> tuple[Tensor, Tensor]:
        """Return the parts of a batch as one; `start` is the index of its first sample.

        Raises DataError if they differ in shape.
        """
        if len(parts) == 1:
            return parts[0]
        first, index = parts[0][0][0], start
        for inputs, _ in parts:
            if inputs.shape[1:] != first.shape:
                names = self._dataset.describe(start), self._dataset.describe(index)
                raise sizes_differ((names[0], first), (names[1], inputs[0]))
            index += len(inputs)
        return torch.cat([inputs for inputs, _ in parts]), torch.cat([targets for _, targets in parts])

    @property
    def num_workers(self) -> int:
        """See `LoaderTrainBatches.num_workers`."""
        return self._loader.num_workers

    def use_workers(self, num_workers: int) -> None:
        """See `LoaderTrainBatches.use_workers`."""
        self._loader.use_workers(num_workers)

    def follow(self, config: DataConfig) -> None:
        """See `LoaderTrainBatches.follow`."""
        self._loader.follow(config)


def prefetch(
    batches: Iterable[LoadedBatch], device: torch.device, finish: Finish
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each batch as (inputs, targets) on `device`. Raises the error in place of a batch that failed."""
    if device.type == "cuda":
        return _prefetch_on_stream(batches, device, finish)
    return (_to_device(batch, device, finish) for batch in batches)


def _prefetch_on_stream(
    batches: Iterable[LoadedBatch], device: torch.device, finish: Finish
) -> Iterator[tuple[Tensor, Tensor]]:
    """Copy the next batch while the GPU computes with the current one. The host does not wait for either."""
    copy_stream = _copy_stream(device)
    # `finish` uses tensors that may still be on their way to the device.
    copy_stream.wait_stream(torch.cuda.current_stream(device))

    def copied() -> Iterator[tuple[Tensor, Tensor, torch.Event]]:
        for batch in batches:
            with torch.cuda.stream(copy_stream):
                inputs, targets = _to_device(batch, device, finish)
                is_copied = copy_stream.record_event()
            yield inputs, targets, is_copied

    for inputs, targets, is_copied in one_ahead(copied()):
        compute_stream = torch.cuda.current_stream(device)
        compute_stream.wait_event(is_copied)
        for tensor in (inputs, targets):
            # The allocator must not reuse this memory on the copy stream while the compute stream reads it.
            tensor.record_stream(compute_stream)
        yield inputs, targets


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the device's copy stream. One for all passes, because freed memory is cached per stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield each item after the next one has been made.

    An Exception while the next one is made is raised after the current item; a BaseException, such as
    Terminated on a signal, at once.
    """
    iterator = iter(items)
    try:
        item = next(iterator)
    except StopIteration:
        return
    while True:
        failure: Exception | None = None
        try:
            following = next(iterator)
        except StopIteration:
            break
        except Exception as error:  # noqa: BLE001 - raised again below
            failure = error
        yield item
        if failure is not None:
            raise failure
        item = following
    yield item


def _to_device(batch: LoadedBatch, device: torch.device, finish: Finish) -> tuple[Tensor, Tensor]:
    if isinstance(batch, TorchconsoleError):
        raise batch
    inputs, targets = batch
    return finish(inputs.to(device, non_blocking=True)), targets.to(device, non_blocking=True)


class _TrainRequests:
    """The batches of one epoch from `start` on; set both before iterating."""

    def __init__(self, order: TrainOrder) -> None:
        self._order = order
        self.epoch = 0
        self.start = 0

    def __iter__(self) -> Iterator[BatchRequest]:
        order = self._order
        indices, stream = order.indices(self.epoch), order.transform_stream(self.epoch)
        for batch in range(self.start, order.batches_per_epoch):
            part = order.part(batch)
            position = part.position
            yield BatchRequest(stream, position, indices[position : position + part.samples].tolist())


def _out_of_shared_memory(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return a batch that does not keep others from being prefetched while it waits to be joined."""
    inputs, targets = batch
    shared: bool = inputs.device.type == "cpu" and inputs.is_shared()  # type: ignore[no-untyped-call]
    return inputs.clone() if shared else inputs, targets


@dataclass(frozen=True)
class _EvalRequests:
    """All parts of all batches, in order."""

    rows: range
    batch_size: int
    part_size: int
    stream: int

    def __iter__(self) -> Iterator[BatchRequest]:
        for batch in range(self.rows.start, self.rows.stop, self.batch_size):
            end = min(batch + self.batch_size, self.rows.stop)
            for position in range(batch, end, self.part_size):
                indices = list(range(position, min(position + self.part_size, end)))
                yield BatchRequest(self.stream, position, indices)


class Loader:
    """Passes over what `fetcher` makes of each of `requests`; the first pass starts the workers."""

    def __init__(self, fetcher: Dataset[Any], requests: Any, options: LoaderOptions) -> None:
        self._fetcher, self._requests, self._options = fetcher, requests, options
        self._loader = _make_loader(fetcher, requests, options)

    @property
    def num_workers(self) -> int:
        """Workers of the next pass."""
        return self._options.num_workers

    def use_workers(self, num_workers: int) -> None:
        """End the workers of the passes so far, and use so many from the next pass on."""
        self._use(replace(self._options, num_workers=num_workers))

    def follow(self, config: DataConfig) -> None:
        """Use the options of this preset from the next pass on; the workers so far end if they differ."""
        self._use(LoaderOptions.of(config, self._options.device))

    def _use(self, options: LoaderOptions) -> None:
        if options == self._options:
            return
        shut_down_workers(self._loader)
        self._options = options
        self._loader = _make_loader(self._fetcher, self._requests, self._options)

    def __iter__(self) -> Iterator[Any]:
        with blocked_signals():
            return iter(self._loader)


def _make_loader(fetcher: Dataset[Any], requests: Any, options: LoaderOptions) -> DataLoader[Any]:
    """Return a loader whose items are batches. Its workers end with the thread that starts the first pass."""
    workers = options.num_workers
    loader: DataLoader[Any] = WatchedLoader(
        fetcher,
        batch_size=None,
        sampler=requests,
        collate_fn=_identity,
        num_workers=workers,
        pin_memory=options.pin_memory,
        persistent_workers=workers > 0,
        # Forked, so that a user's dataset needs no pickling and its tensors are shared, not copied.
        multiprocessing_context="fork" if workers else None,
        timeout=options.timeout if workers else 0,
        worker_init_fn=functools.partial(prepare_worker, os.getpid()) if workers else None,
        # A DataLoader draws a number in each pass, from the default generator unless it has its own.
        generator=torch.Generator(),
    )
    if workers:
        _loaders_with_workers.add(loader)
    return loader


@atexit.register
def _stop_workers() -> None:
    """Shut down all workers; otherwise multiprocessing terminates them, which torch reports as a failure.

    Then kill the ones that hang, even if their loader is gone: multiprocessing would wait for them forever.
    """
    for loader in _loaders_with_workers:
        shut_down_workers(loader)
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def _identity(batch: Any) -> Any:
    return batch
