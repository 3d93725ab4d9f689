"""Which sets are kept in memory, and how they are read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torchconsole.engine.components.data.batched_transforms import BatchedTransform, batched
from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, MapStyleDataset
from torchconsole.engine.components.data.loader import LoaderOptions
from torchconsole.engine.components.data.loader_worker import (
    BatchFetcher,
    BatchRequest,
    SizesDifferError,
    sizes_differ,
)
from torchconsole.engine.components.data.memory_budget import InMemory, MemoryProbe, free_bytes
from torchconsole.engine.components.data.reading import read_once, samples_per_request
from torchconsole.engine.components.data.sample_sizes import SampleSizes, sizes_of
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import mebibytes

CPU = torch.device("cpu")


@dataclass(frozen=True)
class KeepableSet:
    """A set in the form in which it can be kept in memory: its samples are the same in every epoch."""

    fetcher: BatchFetcher
    example: Tensor
    """The first input in this form."""

    sizes: SampleSizes

    @property
    def is_in_memory(self) -> bool:
        """Whether the samples are in memory already."""
        return _is_in_memory(self.fetcher)


@dataclass(frozen=True)
class MemoryPlan:
    """Which sets can be kept in memory, in which form, and how much memory that takes."""

    requested: InMemory
    """`data.in_memory`."""
    keepable: dict[str, KeepableSet]
    """By name: training, validation and test."""
    probe: MemoryProbe
    train_transform: BatchedTransform | None = None
    """The training set's random transforms, if they can be applied to whole batches.

    The training set is then kept in its form before them.
    """
    unbatched_steps: tuple[str, ...] = ()
    """Names of the random transforms that cannot be applied to whole batches."""

    def read(
        self,
        in_memory: InMemory,
        num_workers: int | Literal["auto"],
        options: LoaderOptions,
        report: ReportPhase,
    ) -> tuple[dict[str, InMemoryDataset], list[str]]:
        """Read the sets to keep, by name; `in_memory` is what `decide_in_memory` returned.

        `num_workers` is what the preset says. All sets share one budget, half of the free memory. The
        training set comes first, and may exceed it if `data.in_memory` is true. A validation set that does
        not fit into the rest is loaded one by one.

        Also return notes on why a set is not among them. Raises DataError for samples that cannot be read or
        differ in size.
        """
        reasons = []
        if self.unbatched_steps:
            reasons.append(f"{' and '.join(self.unbatched_steps)} cannot transform whole batches")
        if self.requested == "auto" and in_memory is False:
            reasons.append(
                f"the samples take {mebibytes(self.probe.train_bytes)}, more than half of the free memory "
                f"({mebibytes(self.probe.free_bytes)})"
            )
        notes = []
        left = self.probe.budget
        kept = {}
        for name, keepable in self.keepable.items():
            size = 0 if keepable.is_in_memory else keepable.sizes.nbytes
            if size and name == "training" and in_memory is False:
                continue
            if size > left and not (name == "training" and in_memory is True):
                notes.append(_note_too_large(name, size, left))
                continue
            try:
                kept[name] = _read(keepable, name, num_workers, options, report)
                left -= size
            except SizesDifferError:
                if self.train_transform is None or name != "training":
                    raise
                reasons.append("images differ in size before they are transformed")
        return kept, [*(_note_one_by_one(reason, num_workers) for reason in reasons), *notes]


def _note_too_large(name: str, size: int, left: int) -> str:
    return (
        f"the samples of the {name} set take {mebibytes(size)}, but only {mebibytes(max(0, left))} are left "
        "(all sets get half of the free memory), so they are loaded one by one"
    )


def _note_one_by_one(reason: str, workers: int | Literal["auto"]) -> str:
    """Return a note on why the batches of the training set are not cut from memory."""
    if workers == "auto":
        where = ""
    elif workers:
        where = f" by {workers} data loader worker{'s' * (workers > 1)}"
    else:
        where = ' in the training process; data.num_workers = "auto" would use workers if they help'
    return f"{reason}, so training samples are loaded one by one{where}"


def plan_memory(
    fetchers: Mapping[str, BatchFetcher],
    examples: Mapping[str, Tensor],
    requested: InMemory,
    processes: int = 1,
) -> MemoryPlan:
    """Decide which sets can be kept in memory; `examples` are their first inputs, transformed.

    `processes` share the free memory, each with samples of its own. A test set is not read to be kept,
    because it is used once at most.
    """
    if requested is False:
        return MemoryPlan(requested, {}, _probe({}, processes))
    forms = {name: (fetcher, examples[name]) for name, fetcher in fetchers.items()}
    batched_form = _batched_form(fetchers["training"])
    if isinstance(batched_form, BatchedTransform):
        train = fetchers["training"].dataset
        forms["training"] = BatchFetcher(train, None), train.input(0)
    keepable = {
        name: _keepable(fetcher, example)
        for name, (fetcher, example) in forms.items()
        if _is_same_each_epoch(fetcher.dataset, fetcher.transform)
        and (name != "test" or _is_in_memory(fetcher))
    }
    probe = _probe(keepable, processes)
    if isinstance(batched_form, BatchedTransform):
        return MemoryPlan(requested, keepable, probe, train_transform=batched_form)
    return MemoryPlan(requested, keepable, probe, unbatched_steps=tuple(batched_form))


def _keepable(fetcher: BatchFetcher, example: Tensor) -> KeepableSet:
    """Return a set with the size of its samples; transforms that are the same each time give one size."""
    if fetcher.transform is not None:
        return KeepableSet(fetcher, example, SampleSizes(len(fetcher) * example.nbytes))
    return KeepableSet(fetcher, example, sizes_of(fetcher.dataset, example))


def _is_in_memory(fetcher: BatchFetcher) -> bool:
    return isinstance(fetcher.dataset, InMemoryDataset) and fetcher.transform is None


def _batched_form(train: BatchFetcher) -> BatchedTransform | list[str]:
    """Return the random transforms of the training set for whole batches, or the steps without such a form.

    The list is empty if it has no random transforms of images, or if the dataset itself is random.
    """
    transform, dataset = train.transform, train.dataset
    if transform is None or not transform.random or not _is_same_each_epoch(dataset, None):
        return []
    return batched(transform) if dataset.input(0).ndim == 3 else []


def _is_same_each_epoch(dataset: BaseDataset, transform: Transform | None) -> bool:
    """Whether samples, once read and transformed, can be used in every epoch."""
    fixed = not isinstance(dataset, MapStyleDataset) or dataset.fixed
    return fixed and (transform is None or not transform.random)


def _probe(keepable: Mapping[str, KeepableSet], processes: int) -> MemoryProbe:
    train = keepable.get("training")
    return MemoryProbe(
        train_bytes=0 if train is None else train.sizes.nbytes,
        free_bytes=free_bytes(CPU) // processes,
        train_can_be_kept=train is not None,
        train_is_in_memory=train is not None and train.is_in_memory,
    )


def _read(
    keepable: KeepableSet,
    name: str,
    num_workers: int | Literal["auto"],
    options: LoaderOptions,
    report: ReportPhase,
) -> InMemoryDataset:
    """Read all samples of the `name` set into one tensor (N, ...).

    Raises DataError for a sample that cannot be read, SizesDifferError for one of another shape.
    """
    fetcher, example = keepable.fetcher, keepable.example
    dataset, count = fetcher.dataset, len(fetcher)
    if isinstance(dataset, InMemoryDataset) and keepable.is_in_memory:
        return dataset
    if keepable.sizes.mismatch is not None:
        raise keepable.sizes.mismatch
    inputs = torch.empty(count, *example.shape, dtype=example.dtype)
    targets = torch.empty_like(dataset.targets)
    progress = PhaseProgress(report, "decoding samples", count, subject=f"{name} set")
    size = samples_per_request(count, example.nbytes)
    indices = list(range(count))
    requests = [BatchRequest(0, start, indices[start : start + size]) for start in range(0, count, size)]
    batches = read_once(fetcher, requests, num_workers, options, size * example.nbytes)
    for (_, start, wanted), (batch, batch_targets) in zip(requests, batches, strict=True):
        if batch.shape[1:] != example.shape or batch.dtype != example.dtype:
            raise sizes_differ((dataset.describe(0), example), (dataset.describe(start), batch[0]))
        rows = slice(start, start + len(wanted))
        inputs[rows], targets[rows] = batch, batch_targets
        progress.advance(len(wanted))
    dataset.log_corrupt_samples()
    return InMemoryDataset(inputs, targets, owned=True)
