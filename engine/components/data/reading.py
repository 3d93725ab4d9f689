"""Goes through a set once, to keep or to measure it: in this process, or with workers if that takes long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from torch.utils.data import Dataset

from torchconsole.engine.components.data.loader import Loader, LoaderOptions
from torchconsole.engine.components.data.loader_worker import fitting_workers
from torchconsole.engine.components.data.one_by_one import MOST_WORKERS
from torchconsole.engine.components.data.open_files import open_file_in
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run.cgroups import usable_cores

ALONE = 0.5
"""Seconds that this process reads alone. Most sets are through by then."""

WORTH_WORKERS = 1.0
"""Seconds of further reading from which on workers are started; that takes some tenths of a second."""

REQUEST_BYTES = 2**20
"""Bytes of samples that are requested at once, if a sample is not larger: enough to cost little."""

REQUESTS_PER_WORKER = 4
"""So that workers end at about the same time."""


def samples_per_request(count: int, sample_bytes: int) -> int:
    """Return how many of `count` samples to request at once, so that all cores get their share."""
    share = -(-count // (REQUESTS_PER_WORKER * usable_cores()))
    return max(1, min(share, REQUEST_BYTES // max(1, sample_bytes)))


def read_once(
    source: Dataset[Any],
    requests: Sequence[Any],
    num_workers: int | Literal["auto"],
    options: LoaderOptions,
    item_bytes: int,
) -> Iterator[Any]:
    """Yield `source[request]` of each request, in order, whatever the number of workers.

    `num_workers` is what the preset says; with `auto` all cores work if this process alone would take long.
    `item_bytes` is the size of an item. Raises an error that is an item.
    """
    done = 0
    if num_workers == "auto":
        begin = time.perf_counter()
        while done < len(requests) and time.perf_counter() - begin < ALONE:
            yield _checked(source[requests[done]])
            done += 1
        left = len(requests) - done
        alone = (time.perf_counter() - begin) / max(1, done) * left
        helps = alone > WORTH_WORKERS and open_file_in(source) is None
        num_workers = _workers(left, item_bytes) if helps else 0
    if done == len(requests):
        return
    loader = Loader(source, requests[done:], replace(options, num_workers=num_workers, pin_memory=False))
    try:
        for item in loader:
            yield _checked(item)
    finally:
        loader.use_workers(0)


def _workers(requests: int, item_bytes: int) -> int:
    """Return how many workers help: none if there is one core only."""
    cores = min(usable_cores(), MOST_WORKERS, requests)
    return fitting_workers(item_bytes, cores) if cores > 1 else 0


def _checked(item: Any) -> Any:
    if isinstance(item, TorchconsoleError):
        raise item
    return item
