"""From a preset's data section to batches: found, checked, split, and brought into the form for training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torchconsole.engine.components.data.assembling import Assembler, example_of
from torchconsole.engine.components.data.datasets import (
    BaseDataset,
    CorruptSamples,
    InMemoryDataset,
    MapStyleDataset,
    Splits,
)
from torchconsole.engine.components.data.loader import BatchFetcher
from torchconsole.engine.components.data.mixing import mix
from torchconsole.engine.components.data.order import TrainOrder
from torchconsole.engine.components.data.sources.finding import open_source
from torchconsole.engine.components.data.splitting import split_parts
from torchconsole.engine.components.data.targets import (
    check_training_part,
    classes_of_samples,
    count_classes,
    settle_targets,
)
from torchconsole.engine.components.data.transforms import Transforms, build_transform
from torchconsole.engine.components.data.types import DataModule, DataSpec, TaskType
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.schema import DataConfig, TrainingConfig
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase


def load_data(
    config: DataConfig, training: TrainingConfig, device: torch.device, report: ReportPhase, own: UserCode
) -> DataModule:
    """The data that `config` describes, with batches on `device`; split and order come from `training.seed`.

    `report` receives each slow phase. Raises ComponentError for names and arguments, TrustError for code
    that the user has not agreed to, and DataError for data that is missing or not fit: all before the first
    batch but for what only a sample itself can tell.
    """
    transforms = _transforms(config, own)
    parts, task, outputs = _open(config, training, report, own)
    classes = classes_of_samples(parts.train.targets, task) if config.sampler == "balanced" else None
    if config.sampler == "balanced" and classes is None:
        raise ComponentError(f"data.sampler: balanced needs one class for each sample; the task is {task}")
    batches = Assembler(config, training.seed, device, transforms, report).assemble(parts, classes)
    counts = count_classes(parts.train.targets, task, outputs)
    spec = DataSpec(task, batches.input_shape, outputs, parts.class_names)
    return DataModule(
        spec=spec,
        train=mix(batches.train, config.transforms.batch, spec, training.seed, own),
        val=batches.val,
        test=batches.test,
        class_counts=counts,
        in_memory=batches.in_memory,
        notes=[*parts.notes, *_absent_classes(counts), *batches.notes],
    )


def measure_data(
    config: DataConfig, training: TrainingConfig, report: ReportPhase, own: UserCode
) -> tuple[DataSpec, int]:
    """What a model for the data must take and give, and the batches of an epoch.

    Of samples that are read one by one, only a few are. Raises what `load_data` does.
    """
    transforms = _transforms(config, own)
    parts, task, outputs = _open(config, training, report, own)
    shape = tuple(example_of(BatchFetcher(parts.train, transforms.train)).shape)
    order = TrainOrder(training.seed, len(parts.train), config.batch_size, config.drop_last)
    return DataSpec(task, shape, outputs, parts.class_names), order.steps


def _transforms(config: DataConfig, own: UserCode) -> Transforms:
    return Transforms(
        build_transform("data.transforms.train", config.transforms.train, own),
        build_transform("data.transforms.val", config.transforms.val, own),
    )


def _open(
    config: DataConfig, training: TrainingConfig, report: ReportPhase, own: UserCode
) -> tuple[Splits, TaskType, int]:
    """The samples of each part, the task, and how many outputs it takes."""
    report(PhaseChanged(phase="loading data", subject=config.name))
    parts = open_source(config, own, report)
    if config.on_corrupt == "skip":
        parts = _passing_over_corrupt(parts, config.max_corrupt)
    parts, task, outputs = settle_targets(parts, None if config.task == "auto" else config.task)
    parts = _choose(parts, config, training.seed)
    check_training_part(parts.train.targets, task)
    return parts, task, outputs


def _passing_over_corrupt(parts: Splits, most: int) -> Splits:
    """With samples that cannot be read passed over, in each part up to `most`."""

    def forgiving(samples: BaseDataset | None) -> Any:
        if not isinstance(samples, MapStyleDataset):
            return samples
        return replace(samples, corrupt=CorruptSamples(len(samples.source), most))

    return replace(parts, train=forgiving(parts.train), val=forgiving(parts.val), test=forgiving(parts.test))


def _absent_classes(counts: Tensor | None) -> list[str]:
    """A sentence where there are classes that the training part has no samples of."""
    if counts is None or counts.all():
        return []
    return [f"{int((counts == 0).sum())} of {len(counts)} classes have no training samples"]


def _choose(parts: Splits, config: DataConfig, seed: int) -> Splits:
    """The samples that are trained on and validated on."""
    parts = split_parts(parts, config, seed)
    if config.overfit_batches is not None:
        few = torch.arange(min(len(parts.train), config.overfit_batches * config.batch_size))
        same = parts.train.subset(few)
        note = f"training and validation are the same {len(few):,} samples (data.overfit_batches)"
        parts = replace(parts, train=same, val=same, test=None, notes=[*parts.notes, note])
    if config.drop_last and len(parts.train) < config.batch_size:
        raise DataError(
            f"data.drop_last: the training part has {len(parts.train):,} samples, less than one batch of "
            f"{config.batch_size}"
        )
    return _fill_missing(parts) if parts.fill_missing else parts


def _fill_missing(parts: Splits) -> Splits:
    """Inputs that are nan become the training part's mean; zero where that has no value at all."""
    mean = _tensor(parts.train).nanmean(dim=0).nan_to_num(0.0)

    def fill(samples: BaseDataset) -> InMemoryDataset:
        inputs = _tensor(samples)
        return InMemoryDataset(torch.where(inputs.isnan(), mean, inputs), samples.targets)

    filled: dict[str, Any] = {
        name: None if part is None else fill(part)
        for name, part in (("train", parts.train), ("val", parts.val), ("test", parts.test))
    }
    return replace(parts, **filled)


def _tensor(samples: BaseDataset) -> Tensor:
    assert isinstance(samples, InMemoryDataset)
    return samples.inputs
