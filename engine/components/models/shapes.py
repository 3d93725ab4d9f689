"""What the zoo asks of an input's shape, and what a stack of layers makes of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn


def image_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """`input_shape` as (C, H, W). Raises ValueError for anything but images."""
    if len(input_shape) != 3:
        raise ValueError(f"it needs images (C, H, W), the data has {tuple(input_shape)}")
    channels, height, width = input_shape
    return channels, height, width


def output_shape(layers: nn.Module, input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of what `layers` make of one input, without the batch; found on the meta device.

    Raises ValueError where nothing of the input is left on the way, as after too many poolings.
    """
    try:
        outputs = copy.deepcopy(layers).to("meta").eval()(torch.empty(1, *input_shape, device="meta"))
    except RuntimeError as error:
        size = "x".join(str(length) for length in input_shape[1:])
        raise ValueError(f"images of {size} are too small for it: {error}") from error
    return tuple(outputs.shape[1:])
