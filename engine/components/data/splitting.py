"""Splits samples into parts: by fraction or count, in the classes' proportions, by a seed."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, Splits
from torchconsole.engine.components.data.order import SPLIT, stream_seed
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import DataError


def split_parts(parts: Splits, config: DataConfig, seed: int) -> Splits:
    """`parts` with a validation part, a test part if the preset asks for one, and `limit` applied.

    What a data set holds out itself is its validation part; a test part is then split off that. A data set
    without one is split. Raises DataError where a part would be empty.
    """
    held_out = parts.test if parts.val is None else parts.val
    if held_out is None:
        parts = _split_all(parts, config, seed)
    elif parts.val is None or parts.test is None:
        parts = _split_held_out(parts, held_out, config, seed)
    if config.limit is not None and config.limit < len(parts.train):
        order = stratified_order(_strata(parts.train, config), len(parts.train), seed)
        parts = replace(parts, train=parts.train.subset(order[: config.limit]))
    return parts


def stratified_order(classes: Tensor | None, count: int, seed: int) -> Tensor:
    """An order (count,) int64 of which every stretch holds the `classes` (count,) in their proportions.

    The last sample of each class comes at the very end, so that what is taken from the front leaves at
    least one of each. Without classes it is a plain permutation.
    """
    generator = torch.Generator().manual_seed(stream_seed(seed, 0, SPLIT))
    shuffled = torch.randperm(count, generator=generator)
    if classes is None:
        return shuffled
    _, mine, sizes = torch.unique(classes[shuffled], return_inverse=True, return_counts=True)
    by_class = mine.argsort(stable=True)
    rank = torch.empty_like(shuffled)
    rank[by_class] = torch.arange(count) - (sizes.cumsum(0) - sizes)[mine[by_class]]
    place = (rank + 0.5).double() / sizes[mine]
    place[rank == sizes[mine] - 1] = 1.0
    return shuffled[place.argsort(stable=True)]


def amount(wanted: float | int | None, count: int) -> int:
    """How many of `count` samples a fraction or a count means; a fraction gives at least one."""
    if wanted is None:
        return 0
    return wanted if isinstance(wanted, int) else math.ceil(wanted * count)


def _split_all(parts: Splits, config: DataConfig, seed: int) -> Splits:
    count = len(parts.train)
    val, test = amount(config.val_split, count), amount(config.test_split, count)
    if val + test >= count:
        asked = f"data.val_split: {config.val_split}" + (
            f" and data.test_split: {config.test_split}" if test else ""
        )
        raise DataError(f"{asked} of {_number(count)} leave none to train on")
    order = stratified_order(_strata(parts.train, config), count, seed)
    return replace(
        parts,
        train=parts.train.subset(order[val + test :]),
        val=parts.train.subset(order[:val]),
        test=parts.train.subset(order[val : val + test]) if test else None,
    )


def _split_held_out(parts: Splits, held_out: BaseDataset, config: DataConfig, seed: int) -> Splits:
    count = len(held_out)
    test = amount(config.test_split, count)
    if not test:
        note = f"validation is the data set's own held-out part, {_number(count)}"
        return replace(parts, val=held_out, test=None, notes=[*parts.notes, note])
    if test >= count:
        raise DataError(
            f"data.test_split: {config.test_split} of the {_number(count)} that are held out "
            "leaves none to validate on"
        )
    order = stratified_order(_strata(held_out, config), count, seed)
    return replace(parts, val=held_out.subset(order[test:]), test=held_out.subset(order[:test]))


def _strata(samples: BaseDataset, config: DataConfig) -> Tensor | None:
    """The classes whose proportions are to be kept, (N,); None for targets that are no classes."""
    targets = samples.targets
    if not config.stratify or (targets.ndim == 2 and targets.shape[1] > 1):
        return None
    classes = targets.flatten()
    if classes.is_floating_point() and not ((classes == 0) | (classes == 1)).all():
        return None
    return classes.long()


def _number(count: int) -> str:
    return "1 sample" if count == 1 else f"{count:,} samples"
