"""Builds the batches of an opened dataset: cut from tensors in memory, or loaded sample by sample."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from torchconsole.engine.components.data.batched_transforms import BatchedTransform, batched
from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.in_memory import (
    BatchMaker,
    is_in_memory,
    is_same_each_epoch,
    read_into_memory,
)
from torchconsole.engine.components.data.loader import (
    BatchFetcher,
    LoaderOptions,
    SizesDifferError,
)
from torchconsole.engine.components.data.loader_worker import shared_memory_warning
from torchconsole.engine.components.data.mean_std import Normalizer, find_mean_std
from torchconsole.engine.components.data.memory_budget import (
    InMemory,
    MemoryProbe,
    choose_storage_device,
    free_bytes,
)
from torchconsole.engine.components.data.order import TrainOrder, preserved_randomness, seed_sample
from torchconsole.engine.components.data.targets import count_classes
from torchconsole.engine.components.data.transforms import Transforms, mix_batches
from torchconsole.engine.components.data.types import DataModule, DataSpec, TaskType
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import mebibytes

log = logging.getLogger(__name__)

EVAL_BATCH_FACTOR = 8
"""Evaluation keeps no activations for a backward pass, so its batches may be this much larger."""

CPU = torch.device("cpu")


@dataclass
class DataBuilder:
    """A dataset that is opened, checked and split, but not read yet.

    `memory_probe` has the facts for `decide_in_memory`; `build` makes the batches with what was decided.
    Raises DataError for samples that cannot be read or do not fit together, ComponentError for transforms
    that do not fit the data.
    """

    config: DataConfig
    seed: int
    splits: Splits
    task: TaskType
    num_outputs: int
    transforms: Transforms
    classes_to_balance: Tensor | None
    """Class of each training sample, (N,) int64, if each class is drawn equally often."""
    user_code: UserCode
    report: ReportPhase

    @cached_property
    def spec(self) -> DataSpec:
        """The shape of one input as the model sees it in training, and what the model predicts."""
        return DataSpec(
            self.task, tuple(self._train_example.shape), self.num_outputs, self.splits.class_names
        )

    @cached_property
    def order(self) -> TrainOrder:
        """The order of the training set."""
        config = self.config
        count = len(self.splits.train)
        return TrainOrder(self.seed, count, config.batch_size, config.drop_last, self.classes_to_balance)

    @cached_property
    def memory_probe(self) -> MemoryProbe:
        """Measure what decides whether the samples are kept in memory."""
        sizes = {name: len(fetcher) * example.nbytes for name, (fetcher, example) in self._keepable.items()}
        in_memory = {name for name, (fetcher, _) in self._keepable.items() if is_in_memory(fetcher)}
        return MemoryProbe(
            total_bytes=sum(sizes.values()),
            bytes_to_read=sum(size for name, size in sizes.items() if name not in in_memory),
            free_bytes=free_bytes(CPU),
            train_can_be_kept="training" in self._keepable,
            train_is_in_memory="training" in in_memory,
        )

    def build(self, device: torch.device, in_memory: InMemory) -> DataModule:
        """Build batches on `device`; `in_memory` is what `decide_in_memory` returned."""
        kept, notes = self._read_kept(in_memory)
        transform = self._batched_transform if "training" in kept else None
        normalizer, more = self._normalizer(kept.get("training"), transform, device)
        self._warn_of_little_shared_memory(kept)
        storage = choose_storage_device(sum(part.inputs.nbytes for part in kept.values()), device)
        if "training" in kept:
            size = mebibytes(kept["training"].inputs.nbytes)
            notes.append(f"training data held in memory on {storage} ({size})")
        pin_memory = device.type == "cuda" if self.config.pin_memory is None else self.config.pin_memory
        options = self._loader_options(device, pin_memory)
        maker = BatchMaker(storage, options, normalizer, self.seed, _eval_batch_size(self.config))
        train = maker.train(self._fetchers["training"], kept.get("training"), self.order, transform)
        counts = count_classes(self.splits.train.targets, self.task, self.num_outputs)
        evaluation = {
            name: maker.evaluation(fetcher, kept.get(name))
            for name, fetcher in self._fetchers.items()
            if name != "training"
        }
        return DataModule(
            spec=self.spec,
            train=mix_batches(train, self.config.transforms.batch, self.spec, self.seed, self.user_code),
            val=evaluation["validation"],
            test=evaluation.get("test"),
            class_counts=counts,
            in_memory=in_memory,
            notes=[*self.splits.notes, *_note_absent_classes(counts), *notes, *more],
        )

    @cached_property
    def _fetchers(self) -> dict[str, BatchFetcher]:
        train, val = self.transforms.train, self.transforms.val
        return {
            name: BatchFetcher(dataset, train if name == "training" else val)
            for name, dataset in self.splits.by_name.items()
        }

    @cached_property
    def _train_example(self) -> Tensor:
        return _transformed_example(self._fetchers["training"])

    @cached_property
    def _examples(self) -> dict[str, Tensor]:
        """The first input of each set, transformed and checked."""
        examples = {
            name: self._train_example if name == "training" else _transformed_example(fetcher)
            for name, fetcher in self._fetchers.items()
        }
        _check_not_empty(examples)
        _check_compatible(examples)
        return examples

    @cached_property
    def _batched_form(self) -> BatchedTransform | list[str] | None:
        """The random transforms of the training set for whole batches, or the steps that have no such form.

        None if the training set cannot be kept in memory or has no random transforms of images.
        """
        transform, dataset = self.transforms.train, self.splits.train
        if transform is None or not transform.random or dataset.input(0).ndim != 3:
            return None
        if self.config.in_memory is False or not is_same_each_epoch(dataset, None):
            return None
        return batched(transform)

    @property
    def _batched_transform(self) -> BatchedTransform | None:
        return self._batched_form if isinstance(self._batched_form, BatchedTransform) else None

    @cached_property
    def _keepable(self) -> dict[str, tuple[BatchFetcher, Tensor]]:
        """The sets that can be kept in memory, each with its first input.

        With transforms for whole batches, the training set is kept in its form before them.
        """
        if self.config.in_memory is False:
            return {}
        forms = {name: (fetcher, self._examples[name]) for name, fetcher in self._fetchers.items()}
        if self._batched_transform is not None:
            train = self.splits.train
            forms["training"] = BatchFetcher(train, None), train.input(0)
        return {
            name: (fetcher, example)
            for name, (fetcher, example) in forms.items()
            if is_same_each_epoch(fetcher.dataset, fetcher.transform)
        }

    def _read_kept(self, in_memory: InMemory) -> tuple[dict[str, InMemoryDataset], list[str]]:
        """Read the sets to keep in memory; return them by name, and notes on why the training set is not."""
        notes = []
        if isinstance(self._batched_form, list):
            steps = " and ".join(self._batched_form)
            notes.append(self._note_one_by_one(f"{steps} cannot transform whole batches"))
        probe = self.memory_probe
        if self.config.in_memory == "auto" and in_memory is False:
            reason = (
                f"the samples take {mebibytes(probe.total_bytes)}, more than half of the free memory "
                f"({mebibytes(probe.free_bytes)})"
            )
            notes.append(self._note_one_by_one(reason))
        may_read = in_memory is True or (in_memory == "auto" and probe.bytes_to_read <= probe.budget)
        options = self._loader_options(CPU, pin_memory=False)
        kept = {}
        for name, (fetcher, example) in self._keepable.items():
            if not may_read and not is_in_memory(fetcher):
                continue
            try:
                kept[name] = read_into_memory(fetcher, example, options, name, self.report)
            except SizesDifferError:
                if self._batched_transform is None or name != "training":
                    raise
                notes.append(self._note_one_by_one("images differ in size before they are transformed"))
        return kept, notes

    def _note_one_by_one(self, reason: str) -> str:
        """Return a note on why the batches of the training set are not cut from memory."""
        workers = self.config.num_workers
        if workers:
            where = f"by {workers} data loader worker{'s' * (workers > 1)}"
        else:
            where = "in the training process; data.num_workers = 2 would use two worker processes"
        return f"{reason}, so training samples are loaded one by one {where}"

    def _normalizer(
        self, kept_train: InMemoryDataset | None, transform: BatchedTransform | None, device: torch.device
    ) -> tuple[Normalizer, list[str]]:
        """Return what normalizes batches, and notes on its mean and std."""
        as_trained = kept_train if transform is None else None
        splits = self.splits
        if transform is not None and self.transforms.val is None and kept_train is not None:
            # Measured in memory; otherwise through the validation's transforms from the files, and cached.
            splits = replace(splits, train=kept_train)
        example = self._train_example
        mean_std, notes = find_mean_std(
            self.config, self.seed, splits, as_trained, example, self.transforms.val, self.report
        )
        return Normalizer(tuple(example.shape), mean_std, device), notes

    def _warn_of_little_shared_memory(self, kept: dict[str, InMemoryDataset]) -> None:
        """Workers return whole batches; those of an evaluation are the largest."""
        sizes = {"training": self.config.batch_size}
        batches = [
            example.nbytes * sizes.get(name, _eval_batch_size(self.config))
            for name, example in self._examples.items()
            if name not in kept
        ]
        if warning := shared_memory_warning(max(batches, default=0), self.config.num_workers):
            log.warning("data: %s", warning)

    def _loader_options(self, device: torch.device, pin_memory: bool) -> LoaderOptions:
        return LoaderOptions(device, self.config.num_workers, pin_memory, self.config.loader_timeout)


def _note_absent_classes(counts: Tensor | None) -> list[str]:
    """Return a note if the training set has no samples of some classes."""
    if counts is None or counts.all():
        return []
    return [f"{int((counts == 0).sum())} of {len(counts)} classes have no training samples"]


def _eval_batch_size(config: DataConfig) -> int:
    return config.eval_batch_size or EVAL_BATCH_FACTOR * config.batch_size


def _transformed_example(fetcher: BatchFetcher) -> Tensor:
    """Return the first input, transformed; the process's random numbers stay as they are."""
    raw = fetcher.dataset.input(0)
    transform = fetcher.transform
    if transform is not None and transform.images_only and raw.ndim != 3:
        raise ComponentError(
            f"{transform.where}: these transforms are for images, but an input has shape {tuple(raw.shape)}"
        )
    with preserved_randomness():
        seed_sample(0)
        return fetcher.input(0)


def _check_not_empty(examples: dict[str, Tensor]) -> None:
    for name, example in examples.items():
        if example.numel() == 0:
            transforms = "data.transforms.train" if name == "training" else "data.transforms.val"
            raise DataError(
                f"data: an input of the {name} set is empty after the transforms, its shape is "
                f"{tuple(example.shape)}; check {transforms}"
            )


def _check_compatible(examples: dict[str, Tensor]) -> None:
    """Check that every set fits the model that the training set does; images may be larger in evaluation."""
    first = examples["training"]
    for name, example in examples.items():
        shape, expected = tuple(example.shape), tuple(first.shape)
        fits = shape[:1] == expected[:1] if first.ndim == example.ndim == 3 else shape == expected
        if not fits or (example.dtype == torch.int64) != (first.dtype == torch.int64):
            raise DataError(
                f"data: an input of the training set is {expected} {first.dtype}, but one of the {name} set "
                f"is {shape} {example.dtype}; check data.transforms.train and .val".replace("torch.", "")
            )
