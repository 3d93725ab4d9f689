"""Means and standard deviations in float64, and the error of a mean of samples whose values are alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from torchconsole.engine.components.data.channel_stats import ChannelStats, moments, stack


def stats_of(samples: list[Tensor], axis: int = 0, together: int = 3) -> ChannelStats:
    stats = ChannelStats()
    for start in range(0, len(samples), together):
        stats.add(stack([moments(sample, axis) for sample in samples[start : start + together]]))
    return stats


def test_images_of_different_sizes_count_by_their_pixels() -> None:
    torch.manual_seed(0)
    images = [torch.randint(0, 256, (3, 4 + n, 9 - n), dtype=torch.uint8) for n in range(8)]
    stats = stats_of(images)
    pixels = torch.cat([image.flatten(1) for image in images], dim=1).double().numpy() / 255
    np.testing.assert_allclose(stats.mean, pixels.mean(1), rtol=1e-13)
    np.testing.assert_allclose(stats.std, pixels.std(1), rtol=1e-13)
    assert stats.samples == 8


def test_sequences_have_their_channels_last() -> None:
    rows = [torch.randn(5, 2) * torch.tensor([1.0, 9.0]) for _ in range(20)]
    stats = stats_of(rows, axis=1)
    np.testing.assert_allclose(stats.std, torch.cat(rows).double().numpy().std(0), rtol=1e-12)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e8])
def test_large_values_that_differ_little_keep_their_deviation(offset: float) -> None:
    values = torch.randn(200, 1, dtype=torch.float64) + offset
    stats = stats_of(list(values.unsqueeze(-1)))
    np.testing.assert_allclose(stats.std, values.numpy().std(0), rtol=1e-6)


def test_constant_values_have_no_deviation_and_no_error() -> None:
    stats = stats_of([torch.full((1, 4), 0.1)] * 9)
    assert stats.std[0] < 1e-15
    assert stats.error(100)[0] < 1e-15


def test_the_error_is_that_of_the_means_of_whole_images() -> None:
    """Not that of as many independent pixels: it is measured here over 400 draws of 50 images."""
    random = np.random.default_rng(0)
    level = random.normal(0.5, 0.1, 100_000)
    errors, means = [], []
    for _ in range(400):
        drawn = torch.from_numpy(random.choice(level, 50, replace=False))
        images = drawn.view(50, 1, 1) + 0.2 * torch.from_numpy(random.normal(size=(50, 1, 16)))
        stats = stats_of(list(images), together=10)
        errors.append(stats.error(100_000)[0])
        means.append(stats.mean[0])
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)


def test_all_samples_of_a_set_have_no_error() -> None:
    stats = stats_of(list(torch.randn(30, 2, 4)))
    assert stats.error(30).max() == 0
    assert stats.error(31).min() > 0
