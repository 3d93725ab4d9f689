"""Brings a batch to float32, and to mean 0 and deviation 1 per channel or feature, on the batch's device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation per channel or feature, (C,) float32; of images in the range 0 to 1."""

    mean: Tensor
    std: Tensor


def channel_axis(shape: tuple[int, ...]) -> int:
    """The axis of one input of this shape that has moments of its own.

    Features (F,): each; sequences (T, F): each feature; images (C, H, W) and beyond: each channel.
    """
    return 1 if len(shape) == 2 else 0


class Normalizer:
    """Batches (B, *shape) of uint8 (0 to 255 becomes 0 to 1) or float32 to normalised float32.

    Batches of int64 are indices and stay as they are. Without moments only the type is changed.
    """

    def __init__(self, shape: tuple[int, ...], moments: Moments | None, device: torch.device) -> None:
        self._mean: Tensor | None = None
        if moments is None:
            return
        spread = [1] * len(shape)
        spread[channel_axis(shape)] = -1
        self._mean = moments.mean.to(device).view(spread)
        self._std = moments.std.to(device).view(spread)
        self._byte_scale = 1 / (255 * self._std)
        self._byte_shift = -self._mean / self._std

    def __call__(self, inputs: Tensor) -> Tensor:
        """The batch, ready for the model."""
        if inputs.dtype == torch.uint8:
            if self._mean is None:
                return inputs.float().div_(255)
            # Bytes are small enough for this form to lose nothing; addcmul takes twice the time on a CPU.
            return inputs.float().mul_(self._byte_scale).add_(self._byte_shift)
        if self._mean is None or inputs.dtype == torch.int64:
            return inputs
        return (inputs - self._mean).div_(self._std)
