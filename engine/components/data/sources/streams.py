"""Iterable-style datasets: their samples are read once, in order, and held in memory.

So they can be shuffled, split, evaluated and resumed like any others, whatever reading them twice would give.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from torchconsole.engine.components.data.memory_budget import free_host_memory
from torchconsole.engine.components.user_errors import describe_error
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.text import mebibytes

MOST_SAMPLES = 1_000_000
"""More samples are read only if `data.limit` says so: an endless stream has to end somewhere."""

REPORT_EVERY = 1000


class ReadStream(Dataset[Any]):
    """The samples of an iterable-style dataset, as a map-style one."""

    def __init__(self, samples: list[Any]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        return self._samples[index]


def read_stream(
    stream: IterableDataset[Any], name: str, limit: int | None, report: ReportPhase
) -> ReadStream:
    """Read a stream to its end, or its first `limit` samples.

    Raises DataError if it fails, or if its samples take more than half of the free memory.
    """
    samples: list[Any] = []
    budget, size = free_host_memory() // 2, 0
    most = limit or MOST_SAMPLES
    try:
        iterator: Any = iter(stream)
        with closing(iterator) if hasattr(iterator, "close") else nullcontext():
            for sample in iterator:
                if len(samples) == most:
                    if limit is None:
                        raise _too_long(name, len(samples), f"has more than {MOST_SAMPLES:,} samples")
                    break
                samples.append(_copied(sample))
                size += _bytes_of(samples[-1])
                if size > budget:
                    held = f"takes more than {mebibytes(budget)}, half of the free memory"
                    raise _too_long(name, len(samples), held)
                if len(samples) % REPORT_EVERY == 0:
                    report(PhaseChanged(phase="reading samples", done=len(samples), unit="samples"))
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"data.name: {name}: sample {len(samples)}: {describe_error(error)}") from error
    return ReadStream(samples)


def describe_stream(name: str, samples: int, limit: int | None) -> str:
    """Return the note about a stream that was read."""
    which = f"its first {samples:,} samples (data.limit)" if limit == samples else f"its {samples:,} samples"
    return f"{name} is an iterable-style dataset: {which} were read once and are held in memory"


def _too_long(name: str, samples: int, why: str) -> DataError:
    return DataError(
        f"data.name: {name} is an iterable-style dataset, whose samples are held in memory, and {why}; set "
        f"data.limit = {max(1, samples // 2)} to take the first ones, or give it __getitem__ and __len__"
    )


def _copied(sample: Any) -> Any:
    """Copy tensors and arrays: a stream may fill the same one again and again."""
    if isinstance(sample, torch.Tensor):
        return sample.detach().clone()
    if isinstance(sample, np.ndarray):
        return sample.copy()
    if isinstance(sample, tuple | list) and not hasattr(sample, "_fields"):
        return type(sample)(map(_copied, sample))
    return sample


def _bytes_of(sample: Any) -> int:
    if isinstance(sample, torch.Tensor | np.ndarray):
        return int(sample.nbytes) + sys.getsizeof(sample)
    if isinstance(sample, tuple | list):
        return sum(map(_bytes_of, sample))
    if isinstance(sample, Mapping):
        return sum(map(_bytes_of, sample.values()))
    if hasattr(sample, "getbands") and hasattr(sample, "size"):  # an image of PIL
        return int(len(sample.getbands()) * sample.size[0] * sample.size[1])
    return sys.getsizeof(sample)
