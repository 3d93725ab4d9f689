"""Random transforms that are applied to whole batches of images, but draw random numbers for each image.

torchvision's transforms draw once for all images of a batch. The ones here take their settings from the
objects of torchvision.transforms.v2 that the preset describes. They have the same distribution as
torchvision's for single images, and are faster.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from torchconsole.engine.components.data.decoding import compact
from torchconsole.engine.components.data.order import Part, preserved_randomness, sample_seed
from torchconsole.engine.components.data.transforms import (
    TRANSFORM_ERRORS,
    ToTensor,
    Transform,
    advice_on,
)
from torchconsole.engine.components.devices import DEVICE_ERRORS
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import error_summary

FIXED = {
    *("CenterCrop", "Pad", "Resize", "Grayscale", "RGB", "Identity"),
    *("ConvertImageDtype", "PILToTensor", "ToDtype", "ToImage", "ToPureTensor", "ToTensor"),
}
"""Classes of torchvision.transforms.v2 that treat all images alike, so that they also work for batches."""

MAX_DRAWS = 10
"""Number of times that torchvision draws a rectangle to erase before it leaves the image unchanged."""

STAGED_COPY_BYTES = 2**16
"""Up to this size, cudaMemcpyAsync does not wait for a copy from pageable memory (CUDA runtime API, 2)."""


class BatchedStep(Protocol):
    """Maps images (B, C, H, W) to images, with random numbers from `draws`."""

    def __call__(self, images: Tensor, draws: Draws) -> Tensor: ...


class Draws:
    """Random numbers on the CPU for the images of a batch.

    A process that has a part of the batch gets those of its images: the numbers are drawn for all of them.
    """

    def __init__(self, seed: int, part: Part) -> None:
        self._generator = Generator().manual_seed(seed)
        self._size = part.size
        self._rows = slice(part.before, part.before + part.samples)

    def uniform(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return numbers from [0, 1), (B, *shape)."""
        return torch.rand(self._size, *shape, generator=self._generator, dtype=dtype)[self._rows]

    def integers(self, high: int) -> Tensor:
        """Return integers from [0, high), (B,) int64."""
        return torch.randint(high, (self._size,), generator=self._generator)[self._rows]

    def normal(self, images: Tensor) -> Tensor:
        """Return normally distributed pixels of the shape of the images, on their device."""
        seed = int(torch.randint(2**62, (), generator=self._generator))
        noise = Generator(images.device).manual_seed(seed)
        shape = (self._size, *images.shape[1:])
        return torch.randn(shape, device=images.device, generator=noise)[self._rows]


@dataclass(frozen=True)
class BatchedTransform:
    """All steps in order; the random numbers depend on (stream, position of the batch) only."""

    steps: Sequence[BatchedStep]
    where: str

    def __call__(self, images: Tensor, stream: int, position: int, part: Part | None = None) -> Tensor:
        """Apply all steps to a batch, or to a `part` of one. Raises DataError if a step cannot be applied."""
        whole = Part(position, 0, len(images), len(images))
        draws = Draws(sample_seed(stream, position), part or whole)
        for number, step in enumerate(self.steps):
            try:
                images = step(images, draws)
            except DEVICE_ERRORS:
                raise
            except TRANSFORM_ERRORS as error:
                reason = error_summary(error) + advice_on(getattr(step, "step", step), images)
                raise DataError(
                    f"{self.where}.{number}: cannot be applied to {tuple(images.shape)}: {reason}"
                ) from error
        return compact(images.as_subclass(Tensor), samples=True)


def batched(transform: Transform) -> BatchedTransform | list[str]:
    """Return the form of `transform` for whole batches, or the names of the steps that have no such form."""
    forms = [(step, _form(type(step).__name__, step)) for step in transform.steps]
    if without := [_name(step) for step, form in forms if form is None]:
        return without
    return BatchedTransform([form for _, form in forms if form is not None], transform.where)


def _name(step: object) -> str:
    name = type(step).__name__
    return name if name != "function" else getattr(step, "__name__", name)


def _form(name: str, step: Any) -> BatchedStep | None:
    if not type(step).__module__.startswith("torchvision.") and not isinstance(step, ToTensor):
        return None
    if name in FIXED:
        return _Fixed(step)
    make = FORMS.get(name)
    return make(step) if make else None


@dataclass(frozen=True)
class _Fixed:
    """A transform that treats all images alike."""

    step: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        return self.step(images)


class _Normalize:
    """Normalizes with mean and std on the device; with lists, each batch would wait until they are copied."""

    def __init__(self, step: Any) -> None:
        self.step = step
        self._on_device: tuple[torch.device, Callable[[Tensor], Tensor]] | None = None

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        if not images.is_floating_point() or not all(self.step.std):
            # torchvision raises the error.
            rejected: Tensor = self.step(images)
            return rejected
        if self._on_device is None or self._on_device[0] != images.device:
            step = copy.copy(self.step)
            step.mean, step.std = (
                torch.tensor(values, dtype=images.dtype, device=images.device)
                for values in (self.step.mean, self.step.std)
            )
            self._on_device = images.device, step
        return self._on_device[1](images)


class _Crop:
    """Pads the images and cuts a window from each, at a random position per image."""

    def __init__(self, step: Any) -> None:
        self.step = step
        self._plans: dict[torch.Size, dict[str, Any]] = {}

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        plan = self._plan(images)
        if plan["needs_pad"]:
            pad = import_torchvision("transforms.v2.functional").pad
            images = pad(images, plan["padding"], fill=self.step.fill, padding_mode=self.step.padding_mode)
        height, width = plan["height"], plan["width"]
        # A view of all possible windows, of which one per image is copied.
        windows = images.unfold(2, height, 1).unfold(3, width, 1)
        tops, lefts = draws.integers(windows.shape[2]), draws.integers(windows.shape[3])
        device = images.device
        chosen: Tensor = windows[
            torch.arange(len(images), device=device), :, _to(tops, device), _to(lefts, device)
        ]
        return chosen

    def _plan(self, images: Tensor) -> dict[str, Any]:
        """Return padding and size for images of this shape; the position that is also drawn is not used."""
        size = images.shape[-2:]
        if size not in self._plans:
            with preserved_randomness():
                self._plans[size] = self.step.make_params([images])
        return self._plans[size]


@dataclass(frozen=True)
class _Flip:
    """Flips each image along `axis`, with probability p."""

    step: Any
    axis: int

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        flipped = draws.uniform() < self.step.p
        return torch.where(_spread(_to(flipped, images.device)), images.flip(self.axis), images)


@dataclass(frozen=True)
class _Erase:
    """Erases a random rectangle of each image, with probability p (Zhong et al. 2017)."""

    step: Any

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        height, width = images.shape[-2:]
        heights, widths, found = self._sizes(height, width, draws)
        tops = (draws.uniform() * (height - heights + 1)).long()
        lefts = (draws.uniform() * (width - widths + 1)).long()
        erased = found & (draws.uniform() < self.step.p)
        rows = _to(_inside(tops, heights, height) & erased[:, None], images.device)
        columns = _to(_inside(lefts, widths, width), images.device)
        value = self._value(images, draws)
        return torch.where(rows[:, None, :, None] & columns[:, None, None, :], value, images)

    def _value(self, images: Tensor, draws: Draws) -> Tensor:
        """Return the new pixels, (C or 1, 1, 1) or (B, C, H, W); noise is drawn on the images' device."""
        if self.step.value is not None:
            return _to(torch.tensor(self.step.value).to(images.dtype), images.device).view(-1, 1, 1)
        return draws.normal(images).to(images.dtype)

    def _sizes(self, height: int, width: int, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Return heights and widths of the rectangles, (B,) int64, and whether one that fits was drawn."""
        (low, high), (flat, tall) = self.step.scale, self.step.ratio
        share = low + (high - low) * draws.uniform(MAX_DRAWS, dtype=torch.float64)
        draw = draws.uniform(MAX_DRAWS, dtype=torch.float64)
        aspect = torch.exp(math.log(flat) + (math.log(tall) - math.log(flat)) * draw)
        heights = (height * width * share * aspect).sqrt().round().long()
        widths = (height * width * share / aspect).sqrt().round().long()
        fits = (heights < height) & (widths < width)
        first = fits.int().argmax(dim=1, keepdim=True)
        found = fits.any(dim=1)
        chosen = heights.gather(1, first).squeeze(1), widths.gather(1, first).squeeze(1)
        return (*(torch.where(found, size, 0) for size in chosen), found)


def _inside(starts: Tensor, sizes: Tensor, length: int) -> Tensor:
    """Return (B, length) bool: whether a row or column lies in the image's rectangle."""
    positions = torch.arange(length)
    return (positions >= starts[:, None]) & (positions < (starts + sizes)[:, None])


def _spread(flags: Tensor) -> Tensor:
    return flags[:, None, None, None]


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    """Move drawn numbers to the images' device. The CUDA driver copies small tensors without a wait."""
    if device.type == "cuda" and tensor.nbytes > STAGED_COPY_BYTES:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


FORMS: dict[str, Callable[[Any], BatchedStep]] = {
    "Normalize": _Normalize,
    "RandomCrop": _Crop,
    "RandomHorizontalFlip": lambda step: _Flip(step, -1),
    "RandomVerticalFlip": lambda step: _Flip(step, -2),
    "RandomErasing": _Erase,
}
"""Classes of torchvision.transforms.v2 that have a form for batches."""
