"""Opens the dataset of a preset: finds its source, checks its targets, and splits it."""

from __future__ import annotations

from dataclasses import replace

import torch

from torchconsole.engine.components.data.builder import DataBuilder
from torchconsole.engine.components.data.data_record import DataRecord
from torchconsole.engine.components.data.datasets import skip_corrupt_samples
from torchconsole.engine.components.data.feature_scaling import scale_features
from torchconsole.engine.components.data.memory_budget import (
    decide_in_memory,
)
from torchconsole.engine.components.data.same_data import check_kind, describe_sets, match_classes
from torchconsole.engine.components.data.sources import open_source
from torchconsole.engine.components.data.splitting import select_samples
from torchconsole.engine.components.data.target_scaling import scale_targets
from torchconsole.engine.components.data.target_transform import transform_targets
from torchconsole.engine.components.data.targets import (
    check_training_targets,
    convert_targets,
    note_similar_classes,
    sample_classes,
)
from torchconsole.engine.components.data.texts.dataset import tokenize
from torchconsole.engine.components.data.transforms import (
    Transforms,
    build_transform,
)
from torchconsole.engine.components.data.types import (
    DataModule,
)
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.ranks import ALONE, Ranks
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.config.schema import TrainingConfig
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase


def load_data(
    config: DataConfig,
    training: TrainingConfig,
    device: torch.device,
    report: ReportPhase,
    user_code: UserCode,
    record: DataRecord | None = None,
    ranks: Ranks = ALONE,
) -> DataModule:
    """Load the data that `config` describes, with batches on `device`; of several `ranks`, the part of one.

    `open_data`, `decide_in_memory` and `DataBuilder.build` in one call; raises what they raise.
    """
    builder = open_data(config, training, report, user_code, record, ranks)
    if record is not None:
        check_kind(record, builder.spec)
    return builder.build(device, decide_in_memory(config.in_memory, builder.memory_probe))


def open_data(
    config: DataConfig,
    training: TrainingConfig,
    report: ReportPhase,
    user_code: UserCode,
    record: DataRecord | None = None,
    ranks: Ranks = ALONE,
) -> DataBuilder:
    """Open the dataset that `config` describes; split and order depend on `training.seed`.

    With the `record` of a run, its classes, columns and categories are the same, found by their names.
    Reads only a few of the samples that are loaded one by one. `report` receives each slow phase. Raises
    ComponentError for names and arguments, TrustError for user code that is not trusted, and DataError for
    data that is missing or unfit for training.
    """
    transforms = Transforms(
        build_transform("data.transforms.train", config.transforms.train, user_code),
        build_transform("data.transforms.val", config.transforms.val, user_code),
    )
    report(PhaseChanged(phase="loading data", subject=config.name))
    splits = open_source(config, user_code, report, record)
    if config.on_corrupt == "skip":
        splits = skip_corrupt_samples(splits, config.max_corrupt)
    requested = None if config.task == "auto" else config.task
    splits = transform_targets(splits, config.target_transform, requested, user_code)
    if record is not None:
        splits = match_classes(splits, record)
    given_classes = splits.class_names
    splits = replace(splits, notes=[*splits.notes, *note_similar_classes(given_classes)])
    splits, task, outputs = convert_targets(splits, requested)
    named_classes = record.named_classes if record else given_classes == splits.class_names
    sets = describe_sets(splits, user_code=is_user_code(config.name))
    splits = scale_features(select_samples(splits, config, training.seed), config)
    splits = tokenize(splits)
    splits = scale_targets(splits, config, task)
    check_training_targets(splits.train.targets, task)
    classes = sample_classes(splits.train.targets, task) if config.sampler == "balanced" else None
    if config.sampler == "balanced" and classes is None:
        raise ComponentError(
            f"data.sampler: balanced needs one class per sample, but the task is {task}; remove data.sampler"
        )
    return DataBuilder(
        config=config,
        seed=training.seed,
        splits=splits,
        task=task,
        num_outputs=outputs,
        transforms=transforms,
        sets=sets,
        named_classes=named_classes,
        classes_to_balance=classes,
        user_code=user_code,
        report=report,
        ranks=ranks,
    )
