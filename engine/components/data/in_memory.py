"""Reads a part once and keeps it as one compact tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, MapStyleDataset
from torchconsole.engine.components.data.free_memory import free_memory
from torchconsole.engine.components.data.loader import (
    BatchFetcher,
    LoaderEvalBatches,
    LoaderOptions,
    sizes_differ,
)
from torchconsole.engine.components.data.progress import PhaseProgress
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import mebibytes

BATCH = 64
"""BaseDataset per request while reading."""


def can_be_kept(samples: BaseDataset, transform: Transform | None) -> bool:
    """Whether a sample, once read and transformed, is good for every epoch."""
    fixed = not isinstance(samples, MapStyleDataset) or samples.fixed
    return fixed and (transform is None or not transform.random)


def budget(device: torch.device) -> int:
    """Bytes of samples that may be kept on a device: half of what is free there now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return free_memory() // 2


def bytes_in_memory(samples: BaseDataset, example: Tensor) -> int:
    """Of all samples when they are like `example`."""
    return len(samples) * example.numel() * example.element_size()


def check_fits(size: int) -> None:
    """Raise DataError where `size` bytes of samples are more than the host's memory can take."""
    if size > (free := free_memory()):
        raise DataError(
            f"data.in_memory: the samples take {mebibytes(size)}, and {mebibytes(free)} of memory are free; "
            'set it to "auto" or false'
        )


def keep(
    fetcher: BatchFetcher, example: Tensor, loading: LoaderOptions, part: str, report: ReportPhase
) -> InMemoryDataset:
    """All samples of a fetcher in one tensor (N, *example.shape).

    Raises DataError for one that cannot be read and for one of another shape than `example`, the first.
    """
    samples = fetcher.dataset
    if isinstance(samples, InMemoryDataset) and fetcher.transform is None:
        return samples
    inputs = torch.empty(len(samples), *example.shape, dtype=example.dtype)
    progress = PhaseProgress(report, "decoding samples", len(samples), subject=part)
    start = 0
    targets = samples.targets.clone()
    for batch, batch_targets in LoaderEvalBatches(fetcher, BATCH, 0, loading, finish=_as_it_is):
        if batch.shape[1:] != example.shape or batch.dtype != example.dtype:
            raise sizes_differ((samples.describe(0), example), (samples.describe(start), batch[0]))
        inputs[start : start + len(batch)] = batch
        targets[start : start + len(batch)] = batch_targets
        start += len(batch)
        progress.advance(len(batch))
    return InMemoryDataset(inputs, targets)


def _as_it_is(batch: Tensor) -> Tensor:
    return batch
