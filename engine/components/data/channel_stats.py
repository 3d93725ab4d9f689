"""Mean and standard deviation of each channel, accumulated in float64, and how exact they are so far.

Values are counted from the first samples' mean: a sum of the squares of large values that differ little would
lose their difference. All sums are NumPy's, because torch's depend on the number of threads to the last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


class Moments(NamedTuple):
    """What is left of n samples: enough for the mean and std over all values of all samples."""

    counts: Floats
    """Values per channel of each sample, (n,)."""
    means: Floats
    """Mean of each channel of each sample, (n, C)."""
    squares: Floats
    """Squared deviations from these means, summed over all samples, (C,)."""


def moments(values: Tensor, axis: int) -> Moments:
    """Return the moments of a sample, floats or bytes (0 to 255 count as 0 to 1), with channels at `axis`."""
    channels = values.movedim(axis, 0).reshape(values.shape[axis], -1)
    means, squares = _of_bytes(channels) if channels.dtype == torch.uint8 else _of_numbers(channels)
    return Moments(np.array([float(channels.shape[1])]), means[np.newaxis], squares)


def stack(samples: list[Moments]) -> Moments:
    """Return the moments of all `samples` together."""
    counts, means, squares = zip(*samples, strict=True)
    return Moments(np.concatenate(counts), np.concatenate(means), np.sum(squares, axis=0))


class ChannelStats:
    """Mean and std over the samples that were added, the same for the same order of samples."""

    def __init__(self) -> None:
        self.samples = 0
        self._shift: Floats | None = None
        self._count = self._count_squares = 0.0
        self._sums: dict[str, Any] = {}

    def add(self, found: Moments) -> None:
        """Add samples."""
        counts, means, squares = found
        if self._shift is None:
            self._shift = np.average(means, axis=0, weights=counts)
            self._sums = dict.fromkeys(("first", "second", "weighted", "weighted_second"), 0.0)
        shifted, each = means - self._shift, counts[:, np.newaxis]
        self.samples += len(counts)
        self._count += counts.sum()
        self._count_squares += np.square(counts).sum()
        self._sums["first"] += (each * shifted).sum(0)
        self._sums["second"] += squares + (each * np.square(shifted)).sum(0)
        self._sums["weighted"] += (np.square(each) * shifted).sum(0)
        self._sums["weighted_second"] += np.square(each * shifted).sum(0)

    @property
    def mean(self) -> Floats:
        """Mean of each channel, (C,)."""
        assert self._shift is not None, "samples are added before this is read"
        return self._shift + self._offset

    @property
    def std(self) -> Floats:
        """Standard deviation of each channel over all its values, (C,)."""
        variance: Floats = self._sums["second"] / self._count - np.square(self._offset)
        return np.sqrt(np.maximum(variance, 0.0))

    def error(self, population: int) -> Floats:
        """Return the standard error of each channel's mean, as an estimate for `population` samples, (C,).

        The mean is a ratio of sums over whole samples, since the pixels of one image are alike; see Cochran,
        Sampling Techniques (1977), 6.4 and 2.6 for the part of the population that is not sampled.
        """
        offset, n = self._offset, self.samples
        sums = self._sums
        spread = sums["weighted_second"] - 2 * offset * sums["weighted"] + offset**2 * self._count_squares
        variance = np.maximum(spread, 0.0) * n / max(1, n - 1) * max(0.0, 1 - n / population)
        error: Floats = np.sqrt(variance) / self._count
        return error

    @property
    def _offset(self) -> Floats:
        offset: Floats = self._sums["first"] / self._count
        return offset


def _of_bytes(channels: Tensor) -> tuple[Floats, Floats]:
    """Return the means and squared deviations of bytes (C, n), exactly, from 256 counts per channel."""
    counts = torch.stack([torch.bincount(channel, minlength=256) for channel in channels]).double().numpy()
    values = np.arange(256) / 255
    means = (counts * values).sum(1) / counts.sum(1)
    return means, (counts * np.square(values - means[:, np.newaxis])).sum(1)


def _of_numbers(channels: Tensor) -> tuple[Floats, Floats]:
    numbers = channels.double().numpy()
    means = numbers.mean(1)
    return means, np.square(numbers - means[:, np.newaxis]).sum(1)
