"""Converts what a dataset returns as input (image, array, tensor, number) to one tensor in a compact form.

Images become uint8 (C, H, W), other numbers float32. 64-bit integers are indices, such as tokens, and stay
unchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchconsole.engine.components.data.images import decode_image
from torchconsole.engine.errors import DataError

CHANNELS = (1, 3, 4)
"""Numbers of channels that an image may have, by which the axis of the channels is recognized."""


def to_tensor(value: Any) -> Tensor:
    """Return one input as a tensor of uint8, float32 or int64.

    Raises UnreadableError for a damaged image, DataError for other types.
    """
    if isinstance(value, Image.Image):
        return decode_image(value)
    if isinstance(value, Tensor):
        return compact(value.detach().as_subclass(Tensor))
    if isinstance(value, np.ndarray):
        return compact(from_numpy(value))
    if isinstance(value, bool | int | float | list):
        return compact(torch.as_tensor(value))
    raise DataError(f"data: an input must be an image, an array or a tensor, not {type(value).__name__}")


def compact(tensor: Tensor, *, samples: bool = False) -> Tensor:
    """Convert one sample, or a stack of them (`samples`), to the form described at the top of this module."""
    dims = tensor.ndim - samples
    if tensor.dtype == torch.uint8 and dims in (2, 3):
        return channels_first(tensor, dims)
    if tensor.dtype == torch.int64:
        return tensor
    if tensor.is_complex():
        raise DataError(
            "data: complex inputs are not supported; use the real and imaginary parts as channels"
        )
    return tensor.float()


def channels_first(images: Tensor, dims: int) -> Tensor:
    """Return images (..., H, W), (..., H, W, C) or (..., C, H, W) as (..., C, H, W).

    `dims` is the number of axes of one image, 2 or 3.
    """
    if dims == 2:
        return images.unsqueeze(-3)
    if images.shape[-3] not in CHANNELS and images.shape[-1] in CHANNELS:
        return images.movedim(-1, -3)
    return images


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor; types that torch does not fully support become wider. Raises DataError for text."""
    if array.dtype.kind not in "biuf":
        raise DataError(f"data: expected an array of numbers, got {array.dtype}; convert it to numbers")
    if array.dtype.kind == "u" and array.itemsize > 1:
        return torch.from_numpy(array.astype(np.float32 if array.itemsize == 2 else np.int64))
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    # torch can use neither read-only memory nor negative strides.
    usable = native.flags.writeable and min(native.strides, default=1) >= 0
    return torch.from_numpy(native if usable else native.copy())
