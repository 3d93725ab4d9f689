"""Converts what a dataset returns as input (image, array, tensor, number) to one tensor in a compact form.

Images become uint8 (C, H, W), other numbers float32. 64-bit integers are indices, such as tokens, and stay
unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchconsole.engine.components.data.images import decode_image
from torchconsole.engine.errors import DataError

CHANNELS = (1, 3, 4)
"""Numbers of channels that an image may have, by which the axis of the channels is recognized."""

MAX_INT64 = torch.iinfo(torch.int64).max

PRECISE = (torch.float64, torch.int32)
"""Types with more digits than float32, to which they are converted."""

LOST, NOISE = 0.01, 1e-13
"""Digits are lost if rounding changes more than this share of how samples differ, unless that is noise."""

UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
"""Types that torch can hardly compute with."""


def to_tensor(value: Any) -> Tensor:
    """Return one input as a tensor of uint8, float32 or int64.

    Raises UnreadableError for a damaged image, DataError for other types.
    """
    if isinstance(value, Image.Image):
        return decode_image(value)
    if isinstance(value, Tensor):
        return compact(plain_tensor(value.detach()))
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


def note_lost_digits(samples: Sequence[Any]) -> list[str]:
    """Return a note if float32 cannot hold the digits by which inputs differ, such as those of Unix times."""
    arrays = [
        sample.detach().cpu().numpy() if isinstance(sample, Tensor) else sample
        for sample in samples
        if (isinstance(sample, Tensor) and sample.dtype in PRECISE and sample.layout is torch.strided)
        or (isinstance(sample, np.ndarray) and sample.dtype in (np.float64, np.int32, np.uint32))
    ]
    if len(arrays) < 2 or len({array.shape for array in arrays}) > 1:
        return []
    exact = np.stack(arrays).astype(np.float64)
    spread, size = np.ptp(exact, axis=0), np.abs(exact).max(axis=0)
    lost = np.abs(exact - exact.astype(np.float32)).max(axis=0)
    if not ((lost > LOST * spread) & (spread > NOISE * size)).any():
        return []
    return [
        f"inputs become 32-bit floats, which cannot hold all digits of values such as {size.max():.15g}: "
        "subtract a start value in the dataset"
    ]


def plain_tensor(tensor: Tensor, *, targets: bool = False) -> Tensor:
    """Return a dense tensor of real numbers, in a type that torch fully supports.

    Whole numbers of 16 bits become floats, as amounts; in `targets` they stay whole, as labels. Raises
    DataError for complex and sparse tensors, and for whole numbers that int64 cannot hold.
    """
    if tensor.layout is not torch.strided:
        raise DataError("data: sparse tensors are not supported; save their to_dense()")
    tensor = tensor.as_subclass(Tensor)
    if tensor.is_complex():
        raise DataError(
            "data: complex numbers are not supported; use the real and imaginary parts as channels"
        )
    if tensor.is_quantized:
        return tensor.dequantize()
    return from_numpy(tensor.numpy(), targets=targets) if tensor.dtype in UNSIGNED else tensor


def from_numpy(array: np.ndarray[Any, Any], *, targets: bool = False) -> Tensor:
    """Return a tensor; types that torch does not fully support become wider, long floats float64.

    See `plain_tensor` about 16 bits. Raises DataError for text, and for numbers that int64 cannot hold.
    """
    if array.dtype.kind not in "biuf":
        raise DataError(f"data: expected an array of numbers, got {array.dtype}; convert it to numbers")
    if array.dtype.kind == "u" and array.itemsize > 1:
        if array.itemsize == 8 and array.size and array.max() > MAX_INT64:
            raise DataError(
                f"data: an array has {array.max()}, but whole numbers above {MAX_INT64} are not supported; "
                "make them smaller"
            )
        amounts = array.itemsize == 2 and not targets
        return torch.from_numpy(array.astype(np.float32 if amounts else np.int64))
    if array.dtype.kind == "f" and array.itemsize > 8:
        array = array.astype(np.float64)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    # torch can use neither read-only memory nor negative strides.
    usable = native.flags.writeable and min(native.strides, default=1) >= 0
    return torch.from_numpy(native if usable else native.copy())
