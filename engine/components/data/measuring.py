"""Measures the mean and standard deviation of a training set, on as many samples as the precision needs.

Measuring image files is slow, so the result is cached by the files' paths, sizes and modification times.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from torchconsole.engine.components.data.channel_stats import ChannelStats, Moments, moments, stack
from torchconsole.engine.components.data.datasets import BaseDataset, MapStyleDataset
from torchconsole.engine.components.data.loader import LoaderOptions
from torchconsole.engine.components.data.loader_worker import BatchRequest, randomness_of
from torchconsole.engine.components.data.order import (
    EVALUATE,
    MEASURE,
    preserved_randomness,
    sample_seed,
    stream_seed,
)
from torchconsole.engine.components.data.reading import read_once
from torchconsole.engine.components.data.tensor_batches import BLOCK_BYTES
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.config import user_modules
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.config.user_code import user_files
from torchconsole.engine.errors import DataError, TorchconsoleError
from torchconsole.engine.files import read_regular, write_atomically
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.user_folders import cache_folder, cannot_write

MAX_MEASURED = 5_000
"""Number of samples to measure at most if each must be read."""

PRECISION = 0.01
"""The standard error of each channel's mean, as a fraction of its std, at which measuring stops.

The true mean is then within a fiftieth of a std with 95 % probability; batches differ by much more.
"""

LEAST_MEASURED, CHECK_EVERY = 256, 64
"""Samples after which the error is known well enough to stop, and between two looks at it."""

READ_AT_ONCE = 8
"""Samples per request; a constant, so that the sums do not depend on the number of workers."""

CONSTANT = 1e-7
"""A channel whose std is at most this fraction of its mean counts as constant and gets a std of 1."""


@dataclass(frozen=True)
class MeanStd:
    """Mean and standard deviation per channel or feature, (C,) float32; for images scaled to 0..1."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Measured:
    """What was measured, and on how many samples."""

    found: MeanStd
    samples: int


def channel_axis(shape: tuple[int, ...]) -> int:
    """Return the axis of one input of this shape along which each entry has its own mean and std.

    Features (F,): each feature; sequences (T, F): each feature; images (C, H, W) and beyond: each channel.
    """
    return 1 if len(shape) == 2 else 0


def measure_tensor(inputs: Tensor) -> MeanStd:
    """Return the exact mean and std of inputs (N, ...), uint8 or float32."""
    axis = 1 + channel_axis(tuple(inputs.shape[1:]))
    stats = ChannelStats()
    rows = max(1, BLOCK_BYTES // max(1, inputs[0].nbytes))
    for block in torch.split(inputs, rows):
        stats.add(moments(block, axis))
    return _replace_constant(stats)


class _MomentsOfSamples(Dataset[Moments | TorchconsoleError]):
    """The moments of the samples of a request; an error is returned, as by `BatchFetcher`."""

    def __init__(self, dataset: BaseDataset, transform: Transform | None) -> None:
        self._dataset = dataset
        self._transform = transform
        self._randomness = randomness_of(dataset, transform)

    def __getitem__(self, request: BatchRequest) -> Moments | TorchconsoleError:
        try:
            with self._randomness.preserved():
                return stack([self._moments(request, offset) for offset in range(len(request.indices))])
        except TorchconsoleError as error:
            return error

    def _moments(self, request: BatchRequest, offset: int) -> Moments:
        seed = sample_seed(request.stream, request.position + offset)
        found = self._randomness.read(seed, lambda: self._input(request.indices[offset]))
        return moments(found, channel_axis(tuple(found.shape)))

    def _input(self, index: int) -> Tensor:
        found = self._dataset.input(index)
        return found if self._transform is None else self._transform(found)


def measure_samples(
    dataset: BaseDataset,
    order: Tensor,
    transform: Transform | None,
    seed: int,
    num_workers: int | Literal["auto"],
    options: LoaderOptions,
    report: ReportPhase,
) -> Measured:
    """Measure samples after `transform`, in the `order` of their indices; they may differ in size.

    Stops as soon as the standard error of each channel's mean is at most PRECISION of the channel's std, or
    at the end of `order`. Pixels of one image are alike, so the error follows from the means of whole images.
    The result does not depend on the number of workers. Raises DataError for a sample that cannot be read.
    """
    stream = stream_seed(seed, 0, EVALUATE)
    hint = 'set data.normalize to "none" or to a mean and std to skip this'
    progress = PhaseProgress(report, "measuring mean and std", len(order), hint=hint)
    indices = order.tolist()
    requests = [
        BatchRequest(stream, start, indices[start : start + READ_AT_ONCE])
        for start in range(0, len(indices), READ_AT_ONCE)
    ]
    stats = ChannelStats()
    source = _MomentsOfSamples(dataset, transform)
    for found in read_once(source, requests, num_workers, options, item_bytes=0):
        stats.add(found)
        if stats.samples % CHECK_EVERY == 0 and stats.samples >= LEAST_MEASURED:
            needed = _needed(stats, len(dataset))
            if needed <= stats.samples:
                break
            progress.total = min(len(indices), needed)
        progress.advance(len(found.counts))
    dataset.log_corrupt_samples()
    return Measured(_replace_constant(stats), stats.samples)


def _needed(stats: ChannelStats, population: int) -> int:
    """Return how many samples are likely to be enough for the PRECISION, by the ones measured so far."""
    error, limit = stats.error(population), PRECISION * stats.std
    if (error <= limit).all():
        return stats.samples
    varying = limit > 0
    if not varying.any():
        return population
    missing = float(np.square(error[varying] / limit[varying]).max())
    more: int = math.ceil(stats.samples * (missing - 1))
    return stats.samples + max(1, more)


def _replace_constant(stats: ChannelStats) -> MeanStd:
    """Return the mean and std, with a std of 1 for constant channels."""
    mean, std = torch.from_numpy(stats.mean), torch.from_numpy(stats.std)
    constant = std <= CONSTANT * mean.abs()
    return MeanStd(mean.float(), torch.where(constant, torch.ones_like(std), std).float())


def measure_files(
    config: DataConfig,
    seed: int,
    train: BaseDataset,
    transform: Transform | None,
    options: LoaderOptions,
    report: ReportPhase,
) -> tuple[Measured, list[str]]:
    """Measure samples that must be read one by one, in a random order given by `seed`; cache the result."""
    generator = torch.Generator().manual_seed(stream_seed(seed, 0, MEASURE))
    order = torch.randperm(len(train), generator=generator)[:MAX_MEASURED]
    data = config.model_dump(mode="json")
    code = user_files({"data": data, "code_folders": user_modules.folders()})
    digests = [hashlib.sha256(file.content).hexdigest() for file in code]
    arguments = {name: data[name] for name in config.arguments}
    steps = [data["name"], arguments, data["transforms"]["val"], digests]
    key = None if transform is not None and transform.random else _cache_key(train, order, steps)
    if key is not None and (known := load_mean_std(key)) is not None:
        return known, []
    measured = measure_samples(train, order, transform, seed, config.num_workers, options, report)
    if key is not None and (problem := store_mean_std(key, measured)):
        return measured, [problem]
    return measured, []


def _cache_key(dataset: BaseDataset, indices: Tensor, steps: Any) -> str | None:
    """Return a digest of what mean and std depend on: each file's path, size and time, `steps`, precision.

    Also of the type of the inputs, because other images of the source may decide how deep all are decoded.
    None if the samples are not files, because a change would go unnoticed.
    """
    if not isinstance(dataset, MapStyleDataset) or dataset.paths is None:
        return None
    try:
        with preserved_randomness():
            kind = str(dataset.input(int(indices[0])).dtype)
    except DataError:
        return None  # reported when all samples are read
    digest = hashlib.sha256(json.dumps([PRECISION, len(dataset), kind, steps], sort_keys=True).encode())
    for index in indices.tolist():
        path = str(dataset.path(index))
        try:
            found = Path(path).stat()
        except OSError:
            return None
        digest.update(os.fsencode(path) + f"\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def load_mean_std(key: str) -> Measured | None:
    """Return what is cached under `key`; None if there is nothing, or it cannot be read."""
    try:
        content = json.loads(read_regular(_cache_file(key)))
        mean, std = (torch.tensor([float(value) for value in content[key]]) for key in ("mean", "std"))
        samples = int(content["samples"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return Measured(MeanStd(mean, std), samples) if 0 < len(mean) == len(std) else None


def store_mean_std(key: str, measured: Measured) -> str | None:
    """Cache `measured` under `key`; return a note with the reason if that fails."""
    file = _cache_file(key)
    mean, std = measured.found.mean.tolist(), measured.found.std.tolist()
    text = json.dumps({"mean": mean, "std": std, "samples": measured.samples})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.encode())
    except OSError as error:
        return cannot_write(
            file.parent, error, "mean and standard deviation are measured again at each start"
        )
    return None


def _cache_file(key: str) -> Path:
    return cache_folder() / "mean_std" / f"{key}.json"
