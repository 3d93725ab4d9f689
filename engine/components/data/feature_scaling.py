"""Normalizes features in float64 before they become float32.

A Unix time needs more digits than float32 has, and so does each large number with a small spread. After the
mean is subtracted, float32 keeps what tells the samples apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from torchconsole.engine.components.data.data_record import FeatureRecord
from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.mean_std import as_config, expand_channels
from torchconsole.engine.components.data.measuring import MeanStd, channel_axis
from torchconsole.engine.components.data.tables.dataset import TableDataset
from torchconsole.engine.config.data_schema import DataConfig, NormalizeConfig

CONSTANT = 1e-14
"""A feature whose std is at most this fraction of its mean differs by rounding only."""


def scale_features(splits: Splits, config: DataConfig) -> Splits:
    """Return the splits with inputs of float64 as float32, normalized as `config` says; see `scaling`.

    Inputs of other types stay as they are, and so do the values if they are transformed later. Raises
    DataError if the values of `data.normalize` do not fit the inputs.
    """
    train = splits.train
    if not isinstance(train, InMemoryDataset) or train.inputs.dtype != torch.float64:
        return splits
    splits = _hide_unseen(splits)
    transforms = config.transforms
    if config.normalize == "none" or transforms.train or transforms.val:
        return _convert(splits, None)
    if isinstance(config.normalize, NormalizeConfig):
        given = (config.normalize.mean, config.normalize.std)
        found = MeanStd(*(torch.tensor(values, dtype=torch.float64) for values in given))
    else:
        found = _measure(train.inputs)
        if isinstance(train, TableDataset):
            others = torch.ones(train.width - train.inputs.shape[1], dtype=torch.float64)
            found = MeanStd(torch.cat([found.mean, 0 * others]), torch.cat([found.std, others]))
    example = torch.empty(train.width) if isinstance(train, TableDataset) else train.inputs[0]
    return _convert(splits, expand_channels(found, splits.unscaled, example))


def _hide_unseen(splits: Splits) -> Splits:
    """Return the splits without the categories that no training sample has: nothing is learned about them."""
    if not isinstance(splits.train, TableDataset):
        return splits
    seen = splits.train.seen()
    splits = replace(splits, features=_record_unseen(splits.features, seen))
    count = sum(int((~each).sum()) for each in seen)
    if not count:
        return splits
    hidden = {
        name: dataset.keep_categories(seen)
        for name, dataset in splits.by_name.items()
        if isinstance(dataset, TableDataset)
    }
    note = (
        f"{count:,} {'category is' if count == 1 else 'categories are'} not in the training set, and ignored"
    )
    return replace(splits.with_sets(hidden), notes=[*splits.notes, note])


def _record_unseen(features: Sequence[FeatureRecord], seen: Sequence[Tensor]) -> list[FeatureRecord]:
    """Return the features with their `unseen` categories; `seen` has (C,) bool for each categorical one."""
    masks = iter(seen)
    recorded = []
    for feature in features:
        unseen = []
        if feature.kind == "categorical":
            mask = next(masks).tolist()
            unseen = [name for name, found in zip(feature.categories, mask, strict=True) if not found]
        recorded.append(feature.model_copy(update={"unseen": unseen}))
    return recorded


def _measure(inputs: Tensor) -> MeanStd:
    """Return the mean and std of inputs (N, ...) float64; a constant feature gets a std of 1."""
    if not inputs.numel():
        return MeanStd(torch.zeros(0, dtype=torch.float64), torch.ones(0, dtype=torch.float64))
    axis = 1 + channel_axis(tuple(inputs.shape[1:]))
    std, mean = torch.std_mean(inputs, dim=[dim for dim in range(inputs.ndim) if dim != axis], correction=0)
    return MeanStd(mean, torch.where(std <= CONSTANT * mean.abs(), torch.ones_like(std), std))


def _convert(splits: Splits, scaling: MeanStd | None) -> Splits:
    sets = {
        name: scale_rows(dataset, scaling)
        for name, dataset in splits.by_name.items()
        if isinstance(dataset, InMemoryDataset)
    }
    return replace(splits.with_sets(sets), scaling=as_config(scaling) if scaling else None)


def scale_rows(dataset: InMemoryDataset, scaling: MeanStd | None) -> InMemoryDataset:
    """Return inputs of float64 as float32, normalized by `scaling` (float64), one value per channel."""
    if isinstance(dataset, TableDataset):
        return dataset.expanded(scaling)
    inputs = dataset.inputs
    if scaling is None:
        return dataset.with_inputs(inputs.float())
    shape = [1] * inputs.ndim
    shape[1 + channel_axis(tuple(inputs.shape[1:]))] = -1
    scaled = inputs.sub(scaling.mean.view(shape)).div_(scaling.std.view(shape))
    return dataset.with_inputs(scaled.float())
