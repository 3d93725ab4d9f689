"""Brings a loader's batches to the device: to a GPU one ahead, on a stream beside the one that computes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from torchconsole.engine.errors import DataError

T = TypeVar("T")

Loaded = tuple[Tensor, Tensor] | DataError
"""Inputs and targets on the CPU, or what is wrong with the data."""

Finish = Callable[[Tensor], Tensor]
"""From a batch of inputs on the device to what the model takes: `Normalizer`."""


def deliver(
    batches: Iterable[Loaded], device: torch.device, finish: Finish
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each batch as (inputs, targets) on `device`. Raises DataError in the place of a batch that is one."""
    if device.type == "cuda":
        return _deliver_ahead(batches, device, finish)
    return (_place(batch, device, finish) for batch in batches)


def _deliver_ahead(
    batches: Iterable[Loaded], device: torch.device, finish: Finish
) -> Iterator[tuple[Tensor, Tensor]]:
    """While the GPU computes with one batch, the next is copied. The host waits for neither."""
    beside = _stream_beside(device)
    # `finish` uses tensors that may still be on their way.
    beside.wait_stream(torch.cuda.current_stream(device))

    def copied() -> Iterator[tuple[Tensor, Tensor, torch.Event]]:
        for batch in batches:
            with torch.cuda.stream(beside):
                inputs, targets = _place(batch, device, finish)
                is_there = beside.record_event()
            yield inputs, targets, is_there

    for inputs, targets, is_there in one_ahead(copied()):
        here = torch.cuda.current_stream(device)
        here.wait_event(is_there)
        for tensor in (inputs, targets):
            # Its memory belongs to the other stream, which must not use it again before this one is done.
            tensor.record_stream(here)
        yield inputs, targets


@functools.cache
def _stream_beside(device: torch.device) -> torch.cuda.Stream:
    """The same one for every pass: memory that was given back on one stream is kept for that stream alone."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """Each of `items` after the one behind it is made; an error in making that one is raised in its turn.

    What is no Exception, as a signal's Terminated, is raised at once.
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


def _place(batch: Loaded, device: torch.device, finish: Finish) -> tuple[Tensor, Tensor]:
    if isinstance(batch, DataError):
        raise batch
    inputs, targets = batch
    return finish(inputs.to(device, non_blocking=True)), targets.to(device, non_blocking=True)
