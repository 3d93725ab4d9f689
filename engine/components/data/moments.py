"""Measures mean and standard deviation per channel or feature over the training part."""

from __future__ import annotations

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset
from torchconsole.engine.components.data.normalizing import Moments, channel_axis
from torchconsole.engine.components.data.order import (
    EVALUATE,
    preserved_randomness,
    sample_seed,
    seed_sample,
    stream_seed,
)
from torchconsole.engine.components.data.progress import PhaseProgress
from torchconsole.engine.components.data.transforms import Transform
from torchconsole.engine.protocol.events import ReportPhase

SAMPLED = 5_000
"""Images read for the moments where each must be decoded: their mean is within 0.005 of that over all."""

CONSTANT = 1e-7
"""A channel whose deviation is below this share of its mean is constant: its deviation counts as 1."""


def moments_of_tensor(inputs: Tensor) -> Moments:
    """Exact moments of inputs (N, ...), uint8 or float32."""
    axis = 1 + channel_axis(tuple(inputs.shape[1:]))
    if inputs.dtype == torch.uint8:
        return _from_histograms(inputs.movedim(axis, 0))
    others = [dim for dim in range(inputs.ndim) if dim != axis]
    std, mean = torch.std_mean(inputs, dim=others, correction=0)
    return _moments(mean, std)


def moments_of_samples(
    samples: BaseDataset, indices: Tensor, transform: Transform | None, seed: int, report: ReportPhase
) -> Moments:
    """Moments of the samples at `indices` as `transform` leaves them; they may differ in size.

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
            found = samples.input(index)
            found = found if transform is None else transform(found)
            axis = channel_axis(tuple(found.shape))
            values = found.movedim(axis, 0).reshape(found.shape[axis], -1).double()
            values = values / 255 if found.dtype == torch.uint8 else values
            total, squares = total + values.sum(1), squares + values.square().sum(1)
            count += values.shape[1]
            progress.advance()
    mean = total / count
    return _moments(mean, (squares / count - mean.square()).clamp(min=0).sqrt())


def spread_indices(count: int) -> Tensor:
    """At most SAMPLED of `count` indices, evenly spread, (n,) int64."""
    step = max(1, -(-count // SAMPLED))
    return torch.arange(0, count, step)


def _from_histograms(channels: Tensor) -> Moments:
    """Of bytes (C, ...): 256 counts a channel say all, without a copy in float."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in channels]).double()
    counts = counts / counts.sum(1, keepdim=True)
    mean = counts @ values
    return _moments(mean, (counts * (values - mean.unsqueeze(1)).square()).sum(1).sqrt())


def _moments(mean: Tensor, std: Tensor) -> Moments:
    constant = std <= CONSTANT * mean.abs()
    return Moments(mean.float(), torch.where(constant, torch.ones_like(std), std).float())
