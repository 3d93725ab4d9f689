"""Which sets are kept in memory, and how they are read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torchconsole.engine.components.data.batched_transforms import BatchedTransform, batched
from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, MapStyleDataset
from torchconsole.engine.components.data.loader import LoaderEvalBatches, LoaderOptions
from torchconsole.engine.components.data.loader_worker import BatchFetcher, SizesDifferError, sizes_differ
from torchconsole.engine.components.data.memory_budget import InMemory, MemoryProbe, free_bytes
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import mebibytes

CPU = torch.device("cpu")

READ_BATCH_SIZE = 64
"""Samples per request while a dataset is read."""


@dataclass(frozen=True)
class KeepableSet:
    """A set in the form in which it can be kept in memory: its samples are the same in every epoch."""

    fetcher: BatchFetcher
    example: Tensor
    """The first input in this form."""

    @property
    def nbytes(self) -> int:
        """Size of all inputs in bytes, if they have the shape of the first."""
        return len(self.fetcher) * self.example.nbytes

    @property
    def is_in_memory(self) -> bool:
        """Whether the samples are in memory already."""
        return isinstance(self.fetcher.dataset, InMemoryDataset) and self.fetcher.transform is None


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

        `num_workers` is what the preset says.

        Also return notes on why the training set is not among them. Raises DataError for samples that
        cannot be read or differ in size.
        """
        reasons = []
        if self.unbatched_steps:
            reasons.append(f"{' and '.join(self.unbatched_steps)} cannot transform whole batches")
        if self.requested == "auto" and in_memory is False:
            reasons.append(
                f"the samples take {mebibytes(self.probe.total_bytes)}, more than half of the free memory "
                f"({mebibytes(self.probe.free_bytes)})"
            )
        fits = self.probe.bytes_to_read <= self.probe.budget
        may_read = in_memory is True or (in_memory == "auto" and fits)
        kept = {}
        for name, keepable in self.keepable.items():
            if not may_read and not keepable.is_in_memory:
                continue
            try:
                kept[name] = _read(keepable, name, options, report)
            except SizesDifferError:
                if self.train_transform is None or name != "training":
                    raise
                reasons.append("images differ in size before they are transformed")
        return kept, [_note_one_by_one(reason, num_workers) for reason in reasons]


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
    fetchers: Mapping[str, BatchFetcher], examples: Mapping[str, Tensor], requested: InMemory
) -> MemoryPlan:
    """Decide which sets can be kept in memory; `examples` are their first inputs, transformed."""
    if requested is False:
        return MemoryPlan(requested, {}, _probe({}))
    forms = {name: KeepableSet(fetcher, examples[name]) for name, fetcher in fetchers.items()}
    batched_form = _batched_form(fetchers["training"])
    if isinstance(batched_form, BatchedTransform):
        train = fetchers["training"].dataset
        forms["training"] = KeepableSet(BatchFetcher(train, None), train.input(0))
    keepable = {
        name: form
        for name, form in forms.items()
        if _is_same_each_epoch(form.fetcher.dataset, form.fetcher.transform)
    }
    probe = _probe(keepable)
    if isinstance(batched_form, BatchedTransform):
        return MemoryPlan(requested, keepable, probe, train_transform=batched_form)
    return MemoryPlan(requested, keepable, probe, unbatched_steps=tuple(batched_form))


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


def _probe(keepable: Mapping[str, KeepableSet]) -> MemoryProbe:
    train = keepable.get("training")
    return MemoryProbe(
        total_bytes=sum(each.nbytes for each in keepable.values()),
        bytes_to_read=sum(each.nbytes for each in keepable.values() if not each.is_in_memory),
        free_bytes=free_bytes(CPU),
        train_can_be_kept=train is not None,
        train_is_in_memory=train is not None and train.is_in_memory,
    )


def _read(keepable: KeepableSet, name: str, options: LoaderOptions, report: ReportPhase) -> InMemoryDataset:
    """Read all samples of the `name` set into one tensor (N, ...).

    Raises DataError for a sample that cannot be read, SizesDifferError for one of another shape.
    """
    dataset, example = keepable.fetcher.dataset, keepable.example
    if isinstance(dataset, InMemoryDataset) and keepable.is_in_memory:
        return dataset
    inputs = torch.empty(len(dataset), *example.shape, dtype=example.dtype)
    targets = torch.empty_like(dataset.targets)
    progress = PhaseProgress(report, "decoding samples", len(dataset), subject=f"{name} set")
    start = 0
    batches = LoaderEvalBatches(keepable.fetcher, READ_BATCH_SIZE, 0, options, finish=lambda batch: batch)
    for batch, batch_targets in batches:
        if batch.shape[1:] != example.shape or batch.dtype != example.dtype:
            raise sizes_differ((dataset.describe(0), example), (dataset.describe(start), batch[0]))
        inputs[start : start + len(batch)] = batch
        targets[start : start + len(batch)] = batch_targets
        start += len(batch)
        progress.advance(len(batch))
    return InMemoryDataset(inputs, targets)
