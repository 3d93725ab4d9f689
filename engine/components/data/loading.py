"""From a preset's data section to batches: the dataset is opened, checked, split, and handed to a builder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torchconsole.engine.components.data.builder import DataBuilder
from torchconsole.engine.components.data.datasets import (
    BaseDataset,
    CorruptSamples,
    InMemoryDataset,
    MapStyleDataset,
    Splits,
)
from torchconsole.engine.components.data.memory_budget import decide_in_memory
from torchconsole.engine.components.data.sources import open_source
from torchconsole.engine.components.data.splitting import split_dataset
from torchconsole.engine.components.data.targets import (
    check_training_targets,
    convert_targets,
    sample_classes,
)
from torchconsole.engine.components.data.transforms import Transforms, build_transform
from torchconsole.engine.components.data.types import DataModule
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.schema import DataConfig, TrainingConfig
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase


def load_data(
    config: DataConfig,
    training: TrainingConfig,
    device: torch.device,
    report: ReportPhase,
    user_code: UserCode,
) -> DataModule:
    """Load the data that `config` describes, with batches on `device`.

    `open_data`, `decide_in_memory` and `DataBuilder.build` in one call; raises what they raise.
    """
    builder = open_data(config, training, report, user_code)
    return builder.build(device, decide_in_memory(config.in_memory, builder.memory_probe))


def open_data(
    config: DataConfig, training: TrainingConfig, report: ReportPhase, user_code: UserCode
) -> DataBuilder:
    """Open the dataset that `config` describes; split and order depend on `training.seed`.

    Of samples that are read one by one, only a few are read. `report` receives each slow phase. Raises
    ComponentError for names and arguments, TrustError for user code that is not trusted, and DataError for
    data that is missing or unfit for training.
    """
    transforms = Transforms(
        build_transform("data.transforms.train", config.transforms.train, user_code),
        build_transform("data.transforms.val", config.transforms.val, user_code),
    )
    report(PhaseChanged(phase="loading data", subject=config.name))
    splits = open_source(config, user_code, report)
    if config.on_corrupt == "skip":
        splits = _skip_corrupt_samples(splits, config.max_corrupt)
    splits, task, outputs = convert_targets(splits, None if config.task == "auto" else config.task)
    splits = _select_samples(splits, config, training.seed)
    check_training_targets(splits.train.targets, task)
    classes = sample_classes(splits.train.targets, task) if config.sampler == "balanced" else None
    if config.sampler == "balanced" and classes is None:
        raise ComponentError(f"data.sampler: balanced needs one class per sample, but the task is {task}")
    return DataBuilder(
        config=config,
        seed=training.seed,
        splits=splits,
        task=task,
        num_outputs=outputs,
        transforms=transforms,
        classes_to_balance=classes,
        user_code=user_code,
        report=report,
    )


def _skip_corrupt_samples(splits: Splits, limit: int) -> Splits:
    """Return the splits with samples that cannot be read replaced, at most `limit` in each."""

    def skipping(dataset: BaseDataset | None) -> Any:
        if not isinstance(dataset, MapStyleDataset):
            return dataset
        return replace(dataset, corrupt=CorruptSamples(len(dataset.source), limit))

    return replace(splits, train=skipping(splits.train), val=skipping(splits.val), test=skipping(splits.test))


def _select_samples(splits: Splits, config: DataConfig, seed: int) -> Splits:
    """Return the samples to train and to validate on, with missing values filled."""
    splits = split_dataset(splits, config, seed)
    if config.overfit_batches is not None:
        few = torch.arange(min(len(splits.train), config.overfit_batches * config.batch_size))
        same = splits.train.subset(few)
        note = f"training and validation use the same {len(few):,} samples (data.overfit_batches)"
        splits = replace(splits, train=same, val=same, test=None, notes=[*splits.notes, note])
    if config.drop_last and len(splits.train) < config.batch_size:
        raise DataError(
            f"data.drop_last: the training set has {len(splits.train):,} samples, fewer than one batch of "
            f"{config.batch_size}"
        )
    return _fill_missing(splits) if splits.fill_missing else splits


def _fill_missing(splits: Splits) -> Splits:
    """Replace inputs that are nan by the training set's mean; by zero for a feature without any value."""
    mean = _inputs(splits.train).nanmean(dim=0).nan_to_num(0.0)

    def filled(dataset: BaseDataset | None) -> Any:
        if dataset is None:
            return None
        inputs = _inputs(dataset)
        return InMemoryDataset(torch.where(inputs.isnan(), mean, inputs), dataset.targets)

    return replace(splits, train=filled(splits.train), val=filled(splits.val), test=filled(splits.test))


def _inputs(dataset: BaseDataset) -> Tensor:
    assert isinstance(dataset, InMemoryDataset)
    return dataset.inputs
