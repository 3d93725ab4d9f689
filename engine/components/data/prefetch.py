"""Moves a loader's batches to the device; on a GPU, copies the next batch while the current one computes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from torchconsole.engine.errors import DataError

T = TypeVar("T")

LoadedBatch = tuple[Tensor, Tensor] | DataError
"""Inputs and targets on the CPU, or the error that kept the batch from being loaded."""

Finish = Callable[[Tensor], Tensor]
"""Turns a batch of inputs on the device into what the model takes: `Normalizer`."""


def prefetch(
    batches: Iterable[LoadedBatch], device: torch.device, finish: Finish
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each batch as (inputs, targets) on `device`. Raises DataError in place of a batch that failed."""
    if device.type == "cuda":
        return _prefetch_on_stream(batches, device, finish)
    return (_to_device(batch, device, finish) for batch in batches)


def _prefetch_on_stream(
    batches: Iterable[LoadedBatch], device: torch.device, finish: Finish
) -> Iterator[tuple[Tensor, Tensor]]:
    """Copy the next batch while the GPU computes with the current one. The host waits for neither."""
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
    """Yield each item after the next one is made. An Exception in making the next one is raised in its turn.

    Anything else, such as the Terminated of a signal, is raised at once.
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
    if isinstance(batch, DataError):
        raise batch
    inputs, targets = batch
    return finish(inputs.to(device, non_blocking=True)), targets.to(device, non_blocking=True)
