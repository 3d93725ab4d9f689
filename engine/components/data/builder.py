"""Builds the batches of a dataset that is opened: in memory or by workers, normalized and in order."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from torchconsole.engine.components.data.data_record import SetRecord, make_record
from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.in_memory import CPU, MemoryPlan, plan_memory
from torchconsole.engine.components.data.loader import LoaderEvalBatches, LoaderOptions, LoaderTrainBatches
from torchconsole.engine.components.data.loader_worker import (
    BatchFetcher,
    BatchRequest,
)
from torchconsole.engine.components.data.mean_std import (
    Normalizer,
    as_config,
    describe_measured,
    find_mean_std,
)
from torchconsole.engine.components.data.measuring import MeanStd
from torchconsole.engine.components.data.memory_budget import (
    InMemory,
    MemoryProbe,
    choose_storage_device,
)
from torchconsole.engine.components.data.one_by_one import TRIED_SAMPLES, OneByOne
from torchconsole.engine.components.data.order import TrainOrder
from torchconsole.engine.components.data.targets import (
    count_classes,
    note_absent_classes,
)
from torchconsole.engine.components.data.tensor_batches import (
    Placement,
    TensorEvalBatches,
    TensorTrainBatches,
)
from torchconsole.engine.components.data.transforms import (
    Transforms,
    mix_batches,
    normalizes,
)
from torchconsole.engine.components.data.types import (
    DataModule,
    DataSpec,
    EvalBatches,
    TaskType,
    TrainBatches,
)
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import mebibytes

log = logging.getLogger(__name__)

EVAL_BATCH_FACTOR = 8
"""Evaluation keeps no activations for a backward pass, so its batches may be this much larger."""


@dataclass
class DataBuilder:
    """A dataset that is opened, checked and split, but not read yet.

    `memory_probe` is the input of `decide_in_memory`; `build` makes the batches as it decided.
    Both raise DataError for samples that cannot be read or differ in shape, and ComponentError for transforms
    that cannot be applied to the data.
    """

    config: DataConfig
    seed: int
    splits: Splits
    task: TaskType
    num_outputs: int
    transforms: Transforms
    sets: dict[str, SetRecord]
    """The sets before the split."""
    named_classes: bool
    """Whether the classes have the names of the source."""
    classes_to_balance: Tensor | None
    """Class of each training sample, (N,) int64, if the sampler is balanced; else None."""
    user_code: UserCode
    report: ReportPhase
    ranks: Ranks
    """The processes that share the samples."""

    @cached_property
    def spec(self) -> DataSpec:
        """The shape of one input as the model sees it in training, and what the model predicts."""
        example = self._train_example
        return DataSpec(
            task=self.task,
            input_shape=tuple(example.shape),
            num_outputs=self.num_outputs,
            class_names=self.splits.class_names,
            input_dtype=torch.int64 if example.dtype == torch.int64 else torch.float32,
            vocab_size=self.splits.texts.vocab_size if self.splits.texts else None,
            target_scale=self.splits.target_scale,
        )

    @property
    def example(self) -> Tensor:
        """One training input as the model sees it, but not normalized: int64, or float32."""
        example = self._train_example
        return example if example.dtype == torch.int64 else example.float()

    @cached_property
    def order(self) -> TrainOrder:
        """The order of the training set."""
        config = self.config
        count = len(self.splits.train)
        return TrainOrder(
            self.seed,
            count,
            config.batch_size,
            config.drop_last,
            self.classes_to_balance,
            self.ranks.rank,
            self.ranks.size,
        )

    @property
    def memory_probe(self) -> MemoryProbe:
        """The facts that decide whether the samples are kept in memory."""
        return self._memory_plan.probe

    def build(self, device: torch.device, in_memory: InMemory) -> DataModule:
        """Build batches on `device`; `in_memory` is what `decide_in_memory` returned."""
        read_options = replace(LoaderOptions.of(self.config, CPU), pin_memory=False)
        kept, notes = self._memory_plan.read(in_memory, self.config.num_workers, read_options, self.report)
        scaling = self.splits.scaling
        mean_std, more_notes = (None, []) if scaling else self._mean_std(kept.get("training"))
        if scaling and self.config.normalize == "auto":
            count = len(self.splits.train)
            more_notes = [describe_measured(scaling.mean, scaling.std, count, count)]
        normalizer = Normalizer(self.spec.input_shape, mean_std, device)
        measured = scaling or (as_config(mean_std) if mean_std else None)
        storage = choose_storage_device(sum(dataset.inputs.nbytes for dataset in kept.values()), device)
        if "training" in kept:
            size = mebibytes(kept["training"].inputs.nbytes)
            notes.append(f"training data held in memory on {storage} ({size})")
        placement = Placement(storage, device, normalizer)
        evaluation = {
            name: self._eval_batches(fetcher, kept.get(name), placement, self._rows(name, len(fetcher)))
            for name, fetcher in self._fetchers.items()
            if name != "training"
        }
        train = self._train_batches(kept.get("training"), placement)
        one_by_one = self._one_by_one({"training": train, **evaluation})
        if one_by_one is not None and self.config.num_workers != "auto":
            for warning in one_by_one.warnings(self.config.num_workers):
                log.warning("data: %s", warning)
        corrupt = [dataset.note_on_corrupt_samples() for dataset in self.splits.by_name.values()]
        notes += dict.fromkeys(note for note in corrupt if note)
        counts = self._class_counts()
        return DataModule(
            spec=self.spec,
            train=mix_batches(train, self.config.transforms.batch, self.spec, self.seed, self.user_code),
            val=evaluation["validation"],
            test=evaluation.get("test"),
            record=make_record(
                self.spec,
                named_classes=self.named_classes,
                features=self.splits.features,
                fills=self.splits.fills,
                deep_images=self.splits.deep_images,
                sets=self.sets,
            ),
            class_counts=counts.get("training"),
            held_out_counts={name: count for name, count in counts.items() if name != "training"},
            targets_require_grad=self.splits.train.targets.requires_grad,
            in_memory=in_memory,
            one_by_one=one_by_one,
            measured=measured if self.config.normalize == "auto" else None,
            texts=self.splits.texts,
            notes=[*self.splits.notes, *note_absent_classes(counts.get("training")), *notes, *more_notes],
            columns=self.splits.columns,
            first_validated=self._rows("validation", len(self._fetchers["validation"])).start,
            val_samples=len(self._fetchers["validation"]),
            idle_passes=self._idle_passes(len(self._fetchers["validation"])),
            places={name: dataset.places for name, dataset in self.splits.by_name.items()},
        )

    def _class_counts(self) -> dict[str, Tensor]:
        """Return the samples of each class in each set, by its name; empty if there are no classes."""
        sets = self.splits.by_name.items()
        counts = {name: count_classes(each.targets, self.task, self.num_outputs) for name, each in sets}
        return {name: count for name, count in counts.items() if count is not None}

    def _train_batches(self, kept: InMemoryDataset | None, placement: Placement) -> TrainBatches:
        if kept is not None:
            return TensorTrainBatches(kept, self.order, placement, self._memory_plan.train_transform)
        options = LoaderOptions.of(self.config, placement.device)
        return LoaderTrainBatches(self._fetchers["training"], self.order, options, placement.finish)

    def _rows(self, name: str, count: int) -> range:
        """Return the samples of a set that this process evaluates. Raises DataError if it has none."""
        ranks = self.ranks
        if name != "validation":
            return range(count)
        if count < ranks.size:
            raise DataError(
                f"data: the validation set has only {count} samples, fewer than the {ranks.size} processes; "
                "raise data.val_split, or start fewer processes"
            )
        return range(count * ranks.rank // ranks.size, count * (ranks.rank + 1) // ranks.size)

    def _idle_passes(self, count: int) -> int:
        """Return how many batches of so many samples another process has more than this one."""
        size, largest = self._eval_batch_size, -(-count // self.ranks.size)
        return -(-largest // size) - -(-len(self._rows("validation", count)) // size)

    def _eval_batches(
        self, fetcher: BatchFetcher, kept: InMemoryDataset | None, placement: Placement, rows: range
    ) -> EvalBatches:
        if kept is not None:
            return TensorEvalBatches(kept, self._eval_batch_size, placement, rows)
        options = LoaderOptions.of(self.config, placement.device)
        return LoaderEvalBatches(
            fetcher,
            self._eval_batch_size,
            self.config.batch_size,
            self.seed,
            options,
            placement.finish,
            rows,
        )

    @property
    def _eval_batch_size(self) -> int:
        return self.config.eval_batch_size or EVAL_BATCH_FACTOR * self.config.batch_size

    @cached_property
    def _fetchers(self) -> dict[str, BatchFetcher]:
        train, val = self.transforms.train, self.transforms.val
        return {
            name: BatchFetcher(dataset, train if name == "training" else val)
            for name, dataset in self.splits.by_name.items()
        }

    @cached_property
    def _memory_plan(self) -> MemoryPlan:
        return plan_memory(self._fetchers, self._examples, self.config.in_memory, self.ranks.local_size)

    @cached_property
    def _train_example(self) -> Tensor:
        return self._fetchers["training"].example()

    @cached_property
    def _examples(self) -> dict[str, Tensor]:
        """The first input of each set, transformed and checked."""
        examples = {
            name: self._train_example if name == "training" else fetcher.example()
            for name, fetcher in self._fetchers.items()
        }
        _check_examples(examples)
        return examples

    def _mean_std(self, kept_train: InMemoryDataset | None) -> tuple[MeanStd | None, list[str]]:
        """Return the mean and std to normalize batches with, and notes on how they were found."""
        splits, as_trained = self.splits, kept_train
        if self.config.normalize == "auto" and (splits.normalized or normalizes(self.transforms.train)):
            return None, ["the transforms normalize the inputs already; data.normalize = 'auto' leaves them"]
        if kept_train is not None and self._memory_plan.train_transform is not None:
            as_trained = None
            if self.transforms.val is None:
                # Measured in memory, instead of from files through the validation's transforms (cached).
                splits = replace(splits, train=kept_train)
        return find_mean_std(
            self.config,
            self.seed,
            splits,
            as_trained,
            self._train_example,
            self.transforms.val,
            LoaderOptions.of(self.config, CPU),
            self.report,
        )

    def _one_by_one(self, sets: Mapping[str, TrainBatches | EvalBatches]) -> OneByOne | None:
        """Return what loads the samples that are not in memory; None if all of them are."""
        # The test set is not read while a model trains.
        loaded = {
            name: batches
            for name, batches in sets.items()
            if name != "test" and isinstance(batches, LoaderTrainBatches | LoaderEvalBatches)
        }
        if not loaded:
            return None
        size, tried = self.config.batch_size, next(iter(loaded))
        return OneByOne(
            batches=list(loaded.values()),
            fetcher=self._fetchers[tried],
            trial=self._trial(tried),
            batch_size=size,
            batch_bytes=sum(size * self._examples[name].nbytes for name in loaded),
            processes=self.ranks.local_size,
            most_batches=max(-(-len(self._fetchers[name]) // size) for name in loaded),
        )

    def _trial(self, name: str) -> BatchRequest:
        """Return a few samples to time: of the second training batch, since the dry run reads the first."""
        if name != "training":
            return BatchRequest(0, 0, list(range(min(TRIED_SAMPLES, len(self._fetchers[name])))))
        indices = self.order.indices(0).tolist()
        start = self.config.batch_size if len(indices) >= self.config.batch_size + TRIED_SAMPLES else 0
        return BatchRequest(self.order.transform_stream(0), start, indices[start : start + TRIED_SAMPLES])


def _check_examples(examples: dict[str, Tensor]) -> None:
    """Check that one model fits all sets, from their first inputs; images may be larger in evaluation."""
    train = examples["training"]
    for name, example in examples.items():
        shape, expected = tuple(example.shape), tuple(train.shape)
        if example.numel() == 0:
            transforms = "data.transforms.train" if name == "training" else "data.transforms.val"
            raise DataError(
                f"data: an input of the {name} set is empty after the transforms: its shape is {shape}; "
                f"check {transforms}"
            )
        fits = shape[:1] == expected[:1] if train.ndim == example.ndim == 3 else shape == expected
        if not fits or (example.dtype == torch.int64) != (train.dtype == torch.int64):
            raise DataError(
                f"data: an input of the training set is {expected} {train.dtype}, but one of the {name} set "
                f"is {shape} {example.dtype}; check data.transforms.train and .val".replace("torch.", "")
            )
