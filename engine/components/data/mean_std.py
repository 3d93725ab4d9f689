"""Normalizes inputs to mean 0 and standard deviation 1: with given values, or measured on the training set.

Measuring image files is slow, so the result is cached by the files' paths, sizes and modification times.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, MapStyleDataset, Splits
from torchconsole.engine.components.data.order import (
    EVALUATE,
    preserved_randomness,
    sample_seed,
    seed_sample,
    stream_seed,
)
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.config.schema import DataConfig, NormalizeConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.events import ReportPhase

MAX_MEASURED = 5_000
"""Number of images to measure if each must be decoded; their mean is within 0.005 of that of all images."""

CONSTANT = 1e-7
"""A channel whose std is at most this fraction of its mean counts as constant and gets a std of 1."""


@dataclass(frozen=True)
class MeanStd:
    """Mean and standard deviation per channel or feature, (C,) float32; for images scaled to 0..1."""

    mean: Tensor
    std: Tensor


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


def channel_axis(shape: tuple[int, ...]) -> int:
    """Return the axis of one input of this shape along which each entry has its own mean and std.

    Features (F,): each feature; sequences (T, F): each feature; images (C, H, W) and beyond: each channel.
    """
    return 1 if len(shape) == 2 else 0


def find_mean_std(
    config: DataConfig,
    seed: int,
    splits: Splits,
    as_trained: InMemoryDataset | None,
    example: Tensor,
    transform: Transform | None,
    report: ReportPhase,
) -> tuple[MeanStd | None, list[str]]:
    """Return the mean and std for inputs like `example`, and notes on how they were measured.

    `as_trained` is the training set in the form that the model sees, if it is in memory. Otherwise the
    training set is measured through `transform`, the validation's. Raises DataError if the values do not fit
    the inputs.
    """
    if config.normalize == "none" or example.dtype == torch.int64:
        return None, []
    notes: list[str] = []
    if isinstance(config.normalize, NormalizeConfig):
        found = MeanStd(torch.tensor(config.normalize.mean), torch.tensor(config.normalize.std))
    elif as_trained is not None:
        found = measure_tensor(as_trained.inputs)
    elif isinstance(splits.train, InMemoryDataset) and transform is None:
        found = measure_tensor(splits.train.inputs)
    else:
        found, notes = _measure_cached(config, seed, splits.train, transform, report)
    return expand_channels(found, splits.unscaled, example), notes


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


def measure_tensor(inputs: Tensor) -> MeanStd:
    """Return the exact mean and std of inputs (N, ...), uint8 or float32."""
    axis = 1 + channel_axis(tuple(inputs.shape[1:]))
    if inputs.dtype == torch.uint8:
        return _measure_bytes(inputs.movedim(axis, 0))
    others = [dim for dim in range(inputs.ndim) if dim != axis]
    std, mean = torch.std_mean(inputs, dim=others, correction=0)
    return _replace_constant(mean, std)


def _measure_bytes(channels: Tensor) -> MeanStd:
    """Measure bytes (C, ...) from 256 counts per channel, exactly and without a copy as floats."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in channels]).double()
    counts = counts / counts.sum(1, keepdim=True)
    mean = counts @ values
    return _replace_constant(mean, (counts * (values - mean.unsqueeze(1)).square()).sum(1).sqrt())


def measure_samples(
    dataset: BaseDataset, indices: Tensor, transform: Transform | None, seed: int, report: ReportPhase
) -> MeanStd:
    """Measure the samples at `indices` after `transform`; they may differ in size.

    Raises DataError for a sample that cannot be read.
    """
    stream = stream_seed(seed, 0, EVALUATE)
    hint = 'set data.normalize to "none" or to a mean and std to skip this'
    progress = PhaseProgress(report, "measuring mean and std", len(indices), hint=hint)
    total = squares = torch.zeros((), dtype=torch.float64)
    count = 0
    with preserved_randomness():
        for position, index in enumerate(indices.tolist()):
            seed_sample(sample_seed(stream, position))
            found = dataset.input(index)
            found = found if transform is None else transform(found)
            axis = channel_axis(tuple(found.shape))
            values = found.movedim(axis, 0).reshape(found.shape[axis], -1).double()
            values = values / 255 if found.dtype == torch.uint8 else values
            total, squares = total + values.sum(1), squares + values.square().sum(1)
            count += values.shape[1]
            progress.advance()
    mean = total / count
    return _replace_constant(mean, (squares / count - mean.square()).clamp(min=0).sqrt())


def _replace_constant(mean: Tensor, std: Tensor) -> MeanStd:
    constant = std <= CONSTANT * mean.abs()
    return MeanStd(mean.float(), torch.where(constant, torch.ones_like(std), std).float())


def _measure_cached(
    config: DataConfig, seed: int, train: BaseDataset, transform: Transform | None, report: ReportPhase
) -> tuple[MeanStd, list[str]]:
    """Measure samples that must be read one by one, at most MAX_MEASURED of them; cache the result."""
    indices = torch.arange(0, len(train), max(1, -(-len(train) // MAX_MEASURED)))
    notes = []
    if len(indices) < len(train):
        notes.append(
            f"mean and standard deviation are measured on {len(indices):,} of {len(train):,} samples"
        )
    steps = [step.model_dump(mode="json") for step in config.transforms.val]
    key = None if transform is not None and transform.random else _cache_key(train, indices, steps)
    if key is not None and (known := load_mean_std(key)) is not None:
        return known, notes
    found = measure_samples(train, indices, transform, seed, report)
    if key is not None and (problem := store_mean_std(key, found)):
        notes.append(problem)
    return found, notes


def _cache_key(dataset: BaseDataset, indices: Tensor, transforms: Any) -> str | None:
    """Return a digest of what mean and std depend on: each file's path, size and time, and the transforms.

    None if the samples are not files, because a change would go unnoticed.
    """
    if not isinstance(dataset, MapStyleDataset) or dataset.paths is None:
        return None
    digest = hashlib.sha256(json.dumps(transforms, sort_keys=True).encode())
    for index in indices.tolist():
        path = str(dataset.path(index))
        try:
            found = Path(path).stat()
        except OSError:
            return None
        digest.update(os.fsencode(path) + f"\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def load_mean_std(key: str) -> MeanStd | None:
    """Return what is cached under `key`; None if there is nothing, or it cannot be read."""
    try:
        content = json.loads(_cache_file(key).read_text(encoding="utf-8"))
        mean, std = (torch.tensor([float(value) for value in content[key]]) for key in ("mean", "std"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return MeanStd(mean, std) if 0 < len(mean) == len(std) else None


def store_mean_std(key: str, found: MeanStd) -> str | None:
    """Cache `found` under `key`; return a note with the reason if that fails."""
    file = _cache_file(key)
    text = json.dumps({"mean": found.mean.tolist(), "std": found.std.tolist()})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.encode())
    except OSError as error:
        return (
            "mean and standard deviation cannot be cached and are measured again at each start: "
            f"{file.parent}: {error.strerror}"
        )
    return None


def _cache_file(key: str) -> Path:
    return user_cache_path("torchconsole") / "mean_std" / f"{key}.json"
