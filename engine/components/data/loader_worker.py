"""Data loader workers: how they make a batch, how their process starts, and why it may have died.

Without workers, the training process makes its batches with the same `BatchFetcher`.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from torchconsole.engine.components.data.datasets import BaseDataset
from torchconsole.engine.components.data.order import sample_seed
from torchconsole.engine.components.data.sample_randomness import SampleRandomness
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.errors import ComponentError, DataError, TorchconsoleError
from torchconsole.engine.run.memory_kills import REMEDY
from torchconsole.engine.run.process_signals import ignore
from torchconsole.engine.text import mebibytes

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: the signal that a process receives when the thread that forked it ends."""

IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""Ctrl+C, Slurm and systemd send these to all processes at once; only the training process handles them."""

SHARED_MEMORY = Path("/dev/shm")
"""Workers pass their batches to the training process through this file system."""

ENLARGE_SHARED_MEMORY = "enlarge it (docker run --shm-size=8g)"
SHARED_MEMORY_ADVICE = f"{ENLARGE_SHARED_MEMORY}, or lower data.num_workers or data.batch_size"
SHARED_MEMORY_FULL = f"shared memory ({SHARED_MEMORY}) is full; {SHARED_MEMORY_ADVICE}"

PREFETCH_FACTOR = 2
"""Batches that each worker prepares ahead: torch's default."""

_KILLED = re.compile(r"DataLoader worker \(pid (\d+)\) is killed by signal: ([^.]*)")
_EXITED = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) exited unexpectedly")
_TIMED_OUT = "DataLoader timed out after"

_CRASHED = "native code of the dataset or a library crashed; debug with data.num_workers = 0"
_CAUSES = {
    signal.SIGKILL: f"probably by the kernel, because memory ran out; {REMEDY}",
    signal.SIGBUS: SHARED_MEMORY_FULL,
    signal.SIGSEGV: _CRASHED,
    signal.SIGABRT: _CRASHED,
}

LoadedBatch = tuple[Tensor, Tensor] | TorchconsoleError
"""Inputs and targets (B, ...) on the CPU, or the error that a data loader worker passes on."""


class BatchRequest(NamedTuple):
    """The samples of a batch and the origin of their random numbers."""

    stream: int
    position: int
    """Position of the batch's first sample in the stream."""
    indices: list[int]


def randomness_of(dataset: BaseDataset, transform: Transform | None) -> SampleRandomness:
    """Return the generators that samples of a dataset and its transform draw from."""
    parts: dict[str, Any] = {"data": getattr(dataset, "source", None)}
    if transform is not None:
        parts[transform.where] = transform.steps
    return SampleRandomness(parts)


class BatchFetcher(Dataset[LoadedBatch]):
    """Makes the batch of a request: reads, transforms (each with its own random numbers) and stacks samples.

    Items are inputs (B, ...) and targets (B, ...) on the CPU, not yet normalized, and the same in a worker as
    in the training process. A TorchconsoleError is returned, not raised: a DataLoader would put a traceback
    into its message.
    """

    def __init__(self, dataset: BaseDataset, transform: Transform | None) -> None:
        self.dataset = dataset
        self.transform = transform
        self._randomness = randomness_of(dataset, transform)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, request: BatchRequest) -> LoadedBatch:
        try:
            if get_worker_info() is not None:
                return _share_memory(*self._fetch(request))
            with self._randomness.preserved():
                return self._fetch(request)
        except TorchconsoleError as error:
            return error

    def _fetch(self, request: BatchRequest) -> tuple[Tensor, Tensor]:
        inputs, indices = [], []
        for offset, wanted in enumerate(request.indices):
            seed = sample_seed(request.stream, request.position + offset)
            made, index = self._randomness.read(seed, partial(self._make, wanted))
            inputs.append(made)
            indices.append(index)
        self._check_same_shape(inputs, indices)
        # A worker cannot send tensors with a graph, which a dataset may return.
        return torch.stack(inputs).detach(), self.dataset.targets[indices].detach()

    def _make(self, wanted: int) -> tuple[Tensor, int]:
        """Return a transformed input, and the index of its sample, see `BaseDataset.read`."""
        raw, index = self.dataset.read(wanted)
        return self._transformed(raw), index

    def describe_state(self, request: BatchRequest) -> list[str]:
        """Describe what samples depend on besides (seed, epoch, position); see `SampleRandomness`."""
        try:
            return self._randomness.describe_state(lambda: list(self._fetch(request)))
        except TorchconsoleError:
            return []  # reported when the sample is needed

    def example(self) -> Tensor:
        """Return the first input, transformed; the process's random numbers stay as they are.

        Raises ComponentError for transforms of images if it is not an image, DataError if it cannot be read.
        """
        with self._randomness.preserved():
            return self._randomness.read(0, self._make_example)

    def _make_example(self) -> Tensor:
        transform, raw = self.transform, self.dataset.input(0)
        if transform is not None and transform.images_only and raw.ndim != 3:
            shape = tuple(raw.shape)
            raise ComponentError(
                f"{transform.where}: these transforms are for images, but an input has shape {shape}; "
                "remove them"
            )
        return self._transformed(raw)

    def _transformed(self, raw: Tensor) -> Tensor:
        return raw if self.transform is None else self.transform(raw)

    def _check_same_shape(self, inputs: Sequence[Tensor], indices: Sequence[int]) -> None:
        first = inputs[0]
        for tensor, index in zip(inputs, indices, strict=True):
            if tensor.shape != first.shape or tensor.dtype != first.dtype:
                names = self.dataset.describe(indices[0]), self.dataset.describe(index)
                raise sizes_differ((names[0], first), (names[1], tensor))


class SizesDifferError(DataError):
    """Inputs of different shapes or types, which cannot be in one batch."""


def sizes_differ(one: tuple[str, Tensor], other: tuple[str, Tensor]) -> SizesDifferError:
    """Return the error for two samples, each a name and an input, that cannot be in one batch."""
    (name, first), (other_name, second) = one, other
    if first.shape == second.shape:
        kinds = [str(tensor.dtype).removeprefix("torch.") for tensor in (first, second)]
        return SizesDifferError(
            f"data: inputs differ in type: {name} is {kinds[0]}, {other_name} is {kinds[1]}; "
            "give all inputs the same type"
        )
    if first.ndim == 3 and second.ndim == 3 and len(first) != len(second):
        advice = "add { name = 'RGB' } or { name = 'Grayscale' } to data.transforms.train and .val"
    elif first.ndim == 3 and second.ndim == 3:
        advice = "add Resize and CenterCrop, or RandomResizedCrop, to data.transforms.train and .val"
    else:
        advice = "give all inputs the same shape and type"
    return SizesDifferError(
        f"data: inputs differ in size: {name} is {_format_size(first)}, {other_name} is "
        f"{_format_size(second)}; {advice}"
    )


def _format_size(tensor: Tensor) -> str:
    if tensor.ndim != 3:
        return f"{tuple(tensor.shape)} {tensor.dtype}".replace("torch.", "")
    channels, height, width = tensor.shape
    return f"{width}x{height} with {channels} channel{'s' * (channels > 1)}"


def _share_memory(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Move both to shared memory in the main thread: the thread of the worker's queue cannot report an error.

    Raises DataError if shared memory is full.
    """
    try:
        for tensor in (inputs, targets):
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"data: a data loader worker cannot return its batch: {SHARED_MEMORY_FULL}"
        ) from error
    return inputs, targets


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Block IGNORED_SIGNALS while workers start: each inherits the mask until its `prepare_worker` runs."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_worker(parent: int, worker_id: int) -> None:
    """Make this worker end with process `parent` and ignore the signals that are meant for `parent`."""
    for number in IGNORED_SIGNALS:
        ignore(number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED_SIGNALS)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent ended before the call above, so no signal will come.
        os._exit(1)


def prefetched_bytes(batch_bytes: int, num_workers: int) -> int:
    """Return how much shared memory the batches take that workers have made and the training has not used up.

    `batch_bytes` is the size of one batch of each set. Two are in use: one while the next one is taken.
    """
    return batch_bytes * (PREFETCH_FACTOR * num_workers + 2)


def fitting_workers(batch_bytes: int, most: int) -> int:
    """Return how many workers, at most `most`, the free shared memory has room for."""
    if not SHARED_MEMORY.is_dir():
        return most
    free = shutil.disk_usage(SHARED_MEMORY).free
    return next((count for count in range(most, 0, -1) if prefetched_bytes(batch_bytes, count) <= free), 0)


def shared_memory_warning(batch_bytes: int, num_workers: int, processes: int = 1) -> str | None:
    """Return a warning if the prefetched batches of `processes` may not fit into shared memory, else None."""
    needed = processes * prefetched_bytes(batch_bytes, num_workers)
    if not num_workers or not SHARED_MEMORY.is_dir():
        return None
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed <= free:
        return None
    each = f" in each of {processes} processes" if processes > 1 else ""
    return (
        f"{num_workers} data loader workers{each} may need {mebibytes(needed)} of shared memory, but "
        f"{SHARED_MEMORY} has {mebibytes(free)} free: {SHARED_MEMORY_ADVICE}"
    )


def explain_loader_error(error: BaseException) -> str | None:
    """Explain torch's RuntimeError about a data loader worker; None if the error is about something else.

    torch raises it wherever the training thread happens to be, not only where it waits for data.
    """
    text = "\n".join(_messages(error))
    if killed := _KILLED.search(text):
        name, cause = _signal_cause(killed[2].strip())
        return f"data: a data loader worker (pid {killed[1]}) was killed by {name}: {cause}"
    if exited := _EXITED.search(text):
        return f"data: a data loader worker (pid {exited[1]}) exited unexpectedly; see worker.log"
    if _TIMED_OUT in text:
        return (
            "data: no batch arrived within data.loader_timeout: a data loader worker hangs or is too slow: "
            "raise data.loader_timeout, or debug with data.num_workers = 0"
        )
    return None


def has_lost_its_sender(error: BaseException) -> bool:
    """Whether a tensor could not be received because the data loader worker that sent it has ended."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(frame.filename).match("torch/multiprocessing/reductions.py") for frame in frames)


def _messages(error: BaseException | None) -> Iterator[str]:
    """Yield the messages of an error and of the errors that caused it: any of them may name the signal."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def _signal_cause(description: str) -> tuple[str, str]:
    """Return the name and the likely cause of a signal from its C library name, such as `Bus error`."""
    for number in signal.Signals:
        if signal.strsignal(number) == description:
            return number.name, _CAUSES.get(number, "another process sent it; the run cannot continue")
    return description, "see worker.log"
