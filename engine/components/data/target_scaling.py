"""Standardizes the targets of a regression: the loss is computed on them, all metrics in the targets' unit.

A model starts with outputs around 0. On house prices of 200,000 it would spend its training on reaching the
mean, with gradients that no usual learning rate fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import Splits
from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.config.data_schema import DataConfig, TargetScaleConfig
from torchconsole.engine.config.schema import LossConfig, Preset
from torchconsole.engine.errors import ComponentError, DataError

SCALABLE_LOSSES = ("auto", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
"""Losses of the difference between output and target. PoissonNLLLoss needs counts, and user code may too."""

MAX_SHOWN = 3
"""Number of targets of a sample that a note shows."""

CONSTANT = 1e-12
"""A target whose std is at most this fraction of its mean differs by rounding only."""


def data_config_for(preset: Preset) -> DataConfig:
    """Return the preset's data section with an open `scale_target` decided by the loss.

    Raises ComponentError if targets are to be standardized for a loss that needs them as they are.
    """
    data = preset.data
    names = list(_loss_names(preset.loss))
    if data.scale_target == "auto" and not all(name in SCALABLE_LOSSES for name in names):
        return data.model_copy(update={"scale_target": False})
    if data.scale_target not in ("auto", False) and "PoissonNLLLoss" in names:
        raise ComponentError(
            "data.scale_target: PoissonNLLLoss needs counts as targets; set data.scale_target = false"
        )
    return data


def scale_targets(splits: Splits, config: DataConfig, task: TaskType) -> Splits:
    """Return the splits with regression targets (N, K) as float32, standardized if `config` says so.

    Mean and std are those of the training set, unless the preset has them. Raises DataError for values that
    do not fit the targets, and if targets of another task are to be standardized.
    """
    scale, targets = config.scale_target, splits.train.targets
    if task == "regression" and (targets == targets[0]).all():
        same = f"all {len(targets):,} training targets are {_shown(targets[0])}: there is nothing to learn"
        splits = replace(splits, notes=[*splits.notes, same])
    if task != "regression":
        if scale not in ("auto", False):
            raise DataError(
                f"data.scale_target: only targets of a regression are standardized, but the task is {task}; "
                "remove data.scale_target"
            )
        return splits
    if scale is False:
        return _with_targets(splits, None)
    found = scale if isinstance(scale, TargetScaleConfig) else _measure(splits.train.targets)
    width = splits.train.targets.shape[1]
    if not len(found.mean) == len(found.std) == width:
        raise DataError(
            f"data.scale_target: {len(found.mean)} mean and {len(found.std)} std values do not fit targets "
            f"of {width} column{'s' * (width > 1)}; give one of each for every column"
        )
    return _with_targets(splits, found)


class TargetUnit:
    """Turns standardized targets and outputs back into the targets' unit, for metrics.

    In float64, since the difference of two large numbers may matter; in float32 on devices without it.
    """

    def __init__(self, scale: TargetScaleConfig, device: torch.device) -> None:
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self._mean = torch.tensor(scale.mean, dtype=self.dtype, device=device)
        self._std = torch.tensor(scale.std, dtype=self.dtype, device=device)

    def __call__(self, values: Tensor) -> Tensor:
        """Values (B, K), or (B,) if there is one column."""
        return values.to(self.dtype) * self._std + self._mean


def _loss_names(loss: LossConfig) -> Iterator[str]:
    yield loss.name
    for added in loss.also:
        yield from _loss_names(added)


def _measure(targets: Tensor) -> TargetScaleConfig:
    """Measure targets (N, K) float64; a constant column gets a std of 1."""
    std, mean = torch.std_mean(targets.double(), dim=0, correction=0)
    constant = std <= CONSTANT * mean.abs()
    std = torch.where(constant | (std == 0), torch.ones_like(std), std)
    return TargetScaleConfig(mean=mean.tolist(), std=std.tolist())


def _with_targets(splits: Splits, scale: TargetScaleConfig | None) -> Splits:
    def convert(targets: Tensor) -> Tensor:
        if scale is None:
            return targets.float()
        mean, std = (torch.tensor(each, dtype=torch.float64) for each in (scale.mean, scale.std))
        return targets.double().sub(mean).div_(std).float()

    sets = {name: dataset.with_targets(convert(dataset.targets)) for name, dataset in splits.by_name.items()}
    if scale is None:
        return splits.with_sets(sets)
    columns = [
        column.model_copy(update={"detail": f"{column.detail}; standardized"})
        if column.role == "target"
        else column
        for column in splits.columns
    ]
    notes = [*splits.notes, _note(scale)]
    return replace(splits.with_sets(sets), target_scale=scale, columns=columns, notes=notes)


def _shown(row: Tensor) -> str:
    return ", ".join(f"{value:.15g}" for value in row.tolist()[:MAX_SHOWN]) + ", ..." * (len(row) > MAX_SHOWN)


def _note(scale: TargetScaleConfig) -> str:
    values = f" (mean {scale.mean[0]:.6g}, std {scale.std[0]:.6g})" if len(scale.mean) == 1 else ""
    return (
        f"the loss is computed on standardized targets{values}, all other metrics in the unit of the targets "
        "(data.scale_target)"
    )
