"""Selects the samples to train and to validate on: splits, limits, and values for missing features.

A split keeps the proportions of the classes and is a function of the seed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, Splits
from torchconsole.engine.components.data.order import SPLIT, stream_seed
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import DataError


def select_samples(splits: Splits, config: DataConfig, seed: int) -> Splits:
    """Return the samples to train, validate and test on, with missing values filled.

    Raises DataError if a set, or every batch of the training set, would be empty.
    """
    splits = split_dataset(splits, config, seed)
    if config.overfit_batches is not None:
        few = torch.arange(min(len(splits.train), config.overfit_batches * config.batch_size))
        same = splits.train.subset(few)
        note = f"training and validation use the same {len(few):,} samples (data.overfit_batches)"
        splits = replace(splits, train=same, val=same, test=None, notes=[*splits.notes, note])
    if config.drop_last and len(splits.train) < config.batch_size:
        raise DataError(
            f"data.drop_last: the training set has {len(splits.train):,} samples, fewer than one batch of "
            f"{config.batch_size}; set it to false, or lower data.batch_size"
        )
    return _fill_missing(splits) if splits.fill_missing else splits


def split_dataset(splits: Splits, config: DataConfig, seed: int) -> Splits:
    """Add a validation set, a test set if the preset asks for one, and apply `limit`.

    If the dataset has a held-out set of its own, that becomes the validation set, and a test set is split off
    from it; otherwise the training set is split. Raises DataError if a set would be empty.
    """
    held_out = splits.test if splits.val is None else splits.val
    if held_out is None:
        splits = _split_training_set(splits, config, seed)
    elif splits.val is None or splits.test is None:
        splits = _split_held_out_set(splits, held_out, config, seed)
    if config.limit is not None and config.limit < len(splits.train):
        order = stratified_order(_strata(splits.train, config), len(splits.train), seed)
        splits = replace(splits, train=splits.train.subset(order[: config.limit]))
    return splits


def stratified_order(classes: Tensor | None, count: int, seed: int) -> Tensor:
    """Return an order (count,) int64 in which every section has the `classes` (count,) in proportion.

    The last sample of each class comes at the very end, so that a split from the front leaves at least one
    sample of each class. Without classes it is a plain permutation.
    """
    generator = torch.Generator().manual_seed(stream_seed(seed, 0, SPLIT))
    shuffled = torch.randperm(count, generator=generator)
    if classes is None:
        return shuffled
    _, class_index, sizes = torch.unique(classes[shuffled], return_inverse=True, return_counts=True)
    by_class = class_index.argsort(stable=True)
    rank = torch.empty_like(shuffled)
    rank[by_class] = torch.arange(count) - (sizes.cumsum(0) - sizes)[class_index[by_class]]
    relative_rank = (rank + 0.5).double() / sizes[class_index]
    relative_rank[rank == sizes[class_index] - 1] = 1.0
    return shuffled[relative_rank.argsort(stable=True)]


def _sample_count(wanted: float | int | None, total: int) -> int:
    """Return the number of samples for a fraction or a count of `total`; at least one for a fraction."""
    if wanted is None:
        return 0
    return wanted if isinstance(wanted, int) else math.ceil(wanted * total)


def _split_training_set(splits: Splits, config: DataConfig, seed: int) -> Splits:
    count = len(splits.train)
    val, test = _sample_count(config.val_split, count), _sample_count(config.test_split, count)
    if val + test >= count:
        keys = f"data.val_split: {config.val_split}" + (
            f" and data.test_split: {config.test_split}" if test else ""
        )
        raise DataError(f"{keys} of {_format_count(count)} leave no training samples; hold out fewer of them")
    order = stratified_order(_strata(splits.train, config), count, seed)
    return replace(
        splits,
        train=splits.train.subset(order[val + test :]),
        val=splits.train.subset(order[:val]),
        test=splits.train.subset(order[val : val + test]) if test else None,
    )


def _split_held_out_set(splits: Splits, held_out: BaseDataset, config: DataConfig, seed: int) -> Splits:
    count = len(held_out)
    test = _sample_count(config.test_split, count)
    if not test:
        note = f"the dataset's own held-out set is used for validation ({_format_count(count)})"
        return replace(splits, val=held_out, test=None, notes=[*splits.notes, note])
    if test >= count:
        raise DataError(
            f"data.test_split: {config.test_split} of the {_format_count(count)} in the held-out set leaves "
            "no validation samples; lower it"
        )
    order = stratified_order(_strata(held_out, config), count, seed)
    return replace(splits, val=held_out.subset(order[test:]), test=held_out.subset(order[:test]))


def _fill_missing(splits: Splits) -> Splits:
    """Replace inputs that are nan by the training set's mean; by zero for a feature without any value."""
    mean = _tensor(splits.train).nanmean(dim=0).nan_to_num(0.0)

    def fill(dataset: BaseDataset) -> BaseDataset:
        assert isinstance(dataset, InMemoryDataset)
        return dataset.with_inputs(torch.where(dataset.inputs.isnan(), mean, dataset.inputs))

    filled = splits.with_sets({name: fill(dataset) for name, dataset in splits.by_name.items()})
    return replace(filled, fills=mean.tolist())


def _tensor(dataset: BaseDataset) -> Tensor:
    assert isinstance(dataset, InMemoryDataset)
    return dataset.inputs


def _strata(dataset: BaseDataset, config: DataConfig) -> Tensor | None:
    """Return the classes whose proportions are kept, (N,); None if the targets are not classes."""
    targets = dataset.targets
    if not config.stratify or (targets.ndim == 2 and targets.shape[1] > 1):
        return None
    classes = targets.flatten()
    if classes.is_floating_point() and not ((classes == 0) | (classes == 1)).all():
        return None
    return classes.long()


def _format_count(count: int) -> str:
    return "1 sample" if count == 1 else f"{count:,} samples"
