"""Which mean and deviation a preset asks for: none, given, or measured over the training part."""

from __future__ import annotations

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.moments import moments_of_samples, moments_of_tensor, spread_indices
from torchconsole.engine.components.data.moments_cache import fingerprint, load_moments, store_moments
from torchconsole.engine.components.data.normalizing import Moments, channel_axis
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.config.schema import DataConfig, NormalizeConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase


def find_moments(
    config: DataConfig,
    seed: int,
    parts: Splits,
    kept: InMemoryDataset | None,
    example: Tensor,
    transform: Transform | None,
    report: ReportPhase,
) -> tuple[Moments | None, list[str]]:
    """The moments for inputs like `example`, and what is to be noted about them.

    `kept` is the training part where it is in memory as the model sees it; else it is measured as the
    validation's `transform` leaves it, which has no random numbers. Raises DataError where given or measured
    moments do not fit the inputs.
    """
    if config.normalize == "none" or example.dtype == torch.int64:
        return None, []
    notes: list[str] = []
    if isinstance(config.normalize, NormalizeConfig):
        moments = Moments(torch.tensor(config.normalize.mean), torch.tensor(config.normalize.std))
    elif kept is not None:
        moments = moments_of_tensor(kept.inputs)
    elif isinstance(parts.train, InMemoryDataset) and transform is None:
        moments = moments_of_tensor(parts.train.inputs)
    else:
        moments, notes = _from_files(config, seed, parts, transform, report)
    return _fit(moments, parts.unscaled, example), notes


def _from_files(
    config: DataConfig, seed: int, parts: Splits, transform: Transform | None, report: ReportPhase
) -> tuple[Moments, list[str]]:
    """Over samples that must be read one by one: over some of them when they are many, and only once."""
    indices = spread_indices(len(parts.train))
    notes = []
    if len(indices) < len(parts.train):
        notes.append(f"mean and deviation are measured over {len(indices):,} of {len(parts.train):,} samples")
    steps = [step.model_dump(mode="json") for step in config.transforms.val]
    key = None if transform is not None and transform.random else fingerprint(parts.train, indices, steps)
    if key is not None and (known := load_moments(key)) is not None:
        return known, notes
    moments = moments_of_samples(parts.train, indices, transform, seed, report)
    if key is not None and (problem := store_moments(key, moments)):
        notes.append(problem)
    return moments, notes


def _fit(moments: Moments, unscaled: Tensor | None, example: Tensor) -> Moments:
    channels = example.shape[channel_axis(tuple(example.shape))] if example.ndim else 1
    mean, std = moments.mean, moments.std
    if len(mean) != len(std) or len(mean) not in (1, channels):
        raise DataError(
            f"data.normalize: {len(mean)} means and {len(std)} deviations do not fit inputs of {channels} "
            f"channels or features, {tuple(example.shape)}"
        )
    mean, std = mean.expand(channels), std.expand(channels)
    if unscaled is not None:
        mean, std = mean.masked_fill(unscaled, 0.0), std.masked_fill(unscaled, 1.0)
    return Moments(mean, std)
