"""Normalizes inputs to mean 0 and standard deviation 1: with given or measured values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.loader import LoaderOptions
from torchconsole.engine.components.data.measuring import (
    MeanStd,
    Measured,
    channel_axis,
    measure_files,
    measure_tensor,
)
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.config.data_schema import DataConfig, NormalizeConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase

MAX_SHOWN = 4
"""Number of channels whose mean and std are shown in a note."""


def as_config(found: MeanStd) -> NormalizeConfig | None:
    """Return the values as a preset has them, exactly; None if they are not finite."""
    if not (found.mean.isfinite().all() and found.std.isfinite().all()):
        return None
    return NormalizeConfig(mean=found.mean.tolist(), std=found.std.tolist())


class Normalizer:
    """Turns batches (B, *shape) of uint8 (0 to 255 becomes 0 to 1) or float32 into normalized float32.

    Batches of int64 are indices and stay unchanged. Without `mean_std` only the type changes.
    """

    def __init__(self, shape: tuple[int, ...], mean_std: MeanStd | None, device: torch.device) -> None:
        self._mean: Tensor | None = None
        if mean_std is None:
            return
        broadcast_shape = [1] * len(shape)
        broadcast_shape[channel_axis(shape)] = -1
        self._mean = mean_std.mean.to(device).view(broadcast_shape)
        self._std = mean_std.std.to(device).view(broadcast_shape)
        self._byte_scale = 1 / (255 * self._std)
        self._byte_shift = -self._mean / self._std

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the batch in the form that the model takes."""
        if inputs.dtype == torch.uint8:
            if self._mean is None:
                return inputs.float().div_(255)
            # For bytes this form is exact enough; addcmul takes twice as long on a CPU.
            return inputs.float().mul_(self._byte_scale).add_(self._byte_shift)
        if self._mean is None or inputs.dtype == torch.int64:
            return inputs
        return (inputs - self._mean).div_(self._std)


def find_mean_std(
    config: DataConfig,
    seed: int,
    splits: Splits,
    as_trained: InMemoryDataset | None,
    example: Tensor,
    transform: Transform | None,
    options: LoaderOptions,
    report: ReportPhase,
) -> tuple[MeanStd | None, list[str]]:
    """Return the mean and std for inputs like `example`, and notes on how they were measured.

    `as_trained` is the training set in the form that the model sees, if it is in memory: all of it is
    measured. So are tensors in memory without transforms. Otherwise the training set is read through
    `transform`, the validation's; see `measure_samples`. Raises DataError for values that do not fit.
    """
    if config.normalize == "none" or example.dtype == torch.int64:
        return None, []
    if isinstance(config.normalize, NormalizeConfig):
        given = MeanStd(torch.tensor(config.normalize.mean), torch.tensor(config.normalize.std))
        return expand_channels(given, splits.unscaled, example), []
    notes: list[str] = []
    if as_trained is not None:
        measured = Measured(measure_tensor(as_trained.inputs), len(as_trained))
    elif isinstance(splits.train, InMemoryDataset) and transform is None:
        measured = Measured(measure_tensor(splits.train.inputs), len(splits.train))
    else:
        measured, notes = measure_files(config, seed, splits.train, transform, options, report)
    found = expand_channels(measured.found, splits.unscaled, example)
    mean, std = found.mean.tolist(), found.std.tolist()
    return found, [describe_measured(mean, std, measured.samples, len(splits.train)), *notes]


def describe_measured(means: Sequence[float], stds: Sequence[float], samples: int, available: int) -> str:
    """Return a note with the mean and std of each channel that were measured."""
    channels = len(means)
    if channels <= MAX_SHOWN:
        mean, std = (", ".join(f"{value:.3g}" for value in values) for values in (means, stds))
        what = f"mean {mean} and standard deviation {std}"
    else:
        what = f"mean and standard deviation of each of {channels:,} channels or features"
    of = f"{samples:,} of {available:,}" if samples < available else f"all {available:,}"
    return f"inputs are normalized by {what}, measured on {of} training samples"


def expand_channels(found: MeanStd, unscaled: Tensor | None, example: Tensor) -> MeanStd:
    """Expand to one value per channel of `example`; features that are `unscaled` (F,) bool do not change."""
    channels = example.shape[channel_axis(tuple(example.shape))] if example.ndim else 1
    mean, std = found.mean, found.std
    if len(mean) != len(std) or len(mean) not in (1, channels):
        raise DataError(
            f"data.normalize: {len(mean)} mean and {len(std)} std values do not fit inputs with {channels} "
            f"channels or features, {tuple(example.shape)}; give one value, or one for each"
        )
    mean, std = mean.expand(channels), std.expand(channels)
    if unscaled is not None:
        mean, std = mean.masked_fill(unscaled, 0.0), std.masked_fill(unscaled, 1.0)
    return MeanStd(mean, std)
