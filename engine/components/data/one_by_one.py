"""The sets whose samples are loaded one by one: how long that takes, and how many workers have room."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchconsole.engine.components.data.loader import LoaderEvalBatches, LoaderTrainBatches
from torchconsole.engine.components.data.loader_worker import (
    ENLARGE_SHARED_MEMORY,
    SHARED_MEMORY,
    BatchFetcher,
    BatchRequest,
    fitting_workers,
    prefetched_bytes,
    shared_memory_warning,
)
from torchconsole.engine.components.data.open_files import open_file_in
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run.cgroups import usable_cores
from torchconsole.engine.text import mebibytes

MOST_WORKERS = 16
"""More processes than this rarely load faster, and each takes memory."""

TRIED_SAMPLES = 8
"""Number of samples by which the time to load a batch is measured."""


@dataclass(frozen=True)
class WorkerLimit:
    """The most data loader workers that this machine has room for."""

    count: int
    advice: str = ""
    """If something other than the cores limits them: what it is, and what to change."""


@dataclass(frozen=True)
class OneByOne:
    """Batches that are made sample by sample, in this process or in data loader workers.

    `trial` are samples of `fetcher` that represent all.
    """

    batches: Sequence[LoaderTrainBatches | LoaderEvalBatches]
    fetcher: BatchFetcher
    trial: BatchRequest
    batch_size: int
    batch_bytes: int
    """Size of `batch_size` samples of each set, together: their workers prefetch at the same time."""
    most_batches: int
    """Requests of `batch_size` samples in a pass over the largest set."""
    processes: int = 1
    """Processes that train together on this machine, each with workers of its own."""

    @property
    def num_workers(self) -> int:
        """Workers that load each set now."""
        return self.batches[0].num_workers

    @property
    def most_workers(self) -> WorkerLimit:
        """The most workers of each set: a core is left to each training, and each worker has a batch."""
        return self.workers_on(usable_cores() // self.processes - 1)

    def workers_on(self, cores: int) -> WorkerLimit:
        """Return the most workers of each set that so many cores have room for; each has a batch."""
        if advice := self.shared_file:
            return WorkerLimit(0, advice)
        count = max(0, min(MOST_WORKERS, cores, self.most_batches))
        fitting = fitting_workers(self.processes * self.batch_bytes, count)
        if fitting == count:
            return WorkerLimit(count)
        needed = mebibytes(self.processes * prefetched_bytes(self.batch_bytes, count))
        free = mebibytes(shutil.disk_usage(SHARED_MEMORY).free)
        each = f" in each of {self.processes} processes" if self.processes > 1 else ""
        return WorkerLimit(
            fitting,
            f"{count}{each} would need {needed} of shared memory, but {SHARED_MEMORY} has {free} free: "
            f"{ENLARGE_SHARED_MEMORY}, or lower data.batch_size",
        )

    @property
    def shared_file(self) -> str | None:
        """What is wrong if workers would share an open file, and what to change; else None."""
        name = open_file_in(self.fetcher)
        if name is None:
            return None
        attribute = name.removeprefix("dataset.")
        return (
            f"the dataset keeps a file open ({attribute}), and worker processes that share it may read "
            "wrong samples; open it in __getitem__ and close it again"
        )

    def batch_seconds(self) -> float:
        """Return how long this process takes to load a batch, estimated from a few samples.

        Raises TorchconsoleError if one of them cannot be read.
        """
        begin = time.perf_counter()
        loaded = self.fetcher[self.trial]
        taken = time.perf_counter() - begin
        if isinstance(loaded, TorchconsoleError):
            raise loaded
        return taken / len(self.trial.indices) * self.batch_size

    def describe_state(self) -> list[str]:
        """Describe what samples depend on besides (seed, epoch, position), see `BatchFetcher`."""
        return self.fetcher.describe_state(self.trial._replace(indices=self.trial.indices[:1]))

    def use_workers(self, num_workers: int) -> None:
        """Have each set loaded by so many workers from the next pass on; the batches do not depend on it."""
        for batches in self.batches:
            batches.use_workers(num_workers)

    def follow(self, config: DataConfig) -> None:
        """Have each set loaded as this preset says from the next pass on; the batches do not depend on it."""
        for batches in self.batches:
            batches.follow(config)

    def warnings(self, num_workers: int) -> Iterator[str]:
        """Yield what may go wrong with so many workers, and what to change."""
        if warning := shared_memory_warning(self.batch_bytes, num_workers, self.processes):
            yield warning
        if num_workers and self.shared_file:
            yield self.shared_file
