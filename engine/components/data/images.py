"""Decodes images with PIL without losing content: upright, in RGB or greyscale, deep greyscale as numbers."""

from __future__ import annotations

import os
import traceback
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchconsole.engine.components.data.system_failures import raise_system_failure, system_failure
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import error_summary

DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""PIL's modes with more than eight bits; all of them are greyscale."""

WHITE_16 = 65535
"""White in greyscale of 16 bits."""

DIM = 64
"""Of 16 bits, 8 bits keep less than a quarter of their levels if all values are below this."""

ALMOST_WHITE = 248
"""Visible pixels that are all at least this bright would vanish on a white background."""

DECODERS = ("PIL.", "imageio.", "skimage.io.", "tifffile.", "torchvision.io.")
"""Libraries that decode images, and may raise errors of any type for damaged ones."""

ORIENTATION, EXIF_IFD, EXIF_SIZE = 0x0112, 0x8769, (0xA002, 0xA003)
"""Tags of the EXIF standard (CIPA DC-008): orientation; in the Exif IFD, width and height as taken."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image with an orientation upright."""


class UnreadableError(DataError):
    """A sample whose file is missing or damaged."""


def is_unreadable(error: Exception) -> bool:
    """Whether an error from reading a sample is about its file, which is missing or damaged."""
    if system_failure(error):
        return False
    if isinstance(error, OSError | SyntaxError | UnreadableError):
        return True
    modules = {frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)}
    return any(f"{module}.".startswith(DECODERS) for module in modules)


def decode_file(path: str | os.PathLike[str], *, deep: bool = False) -> Tensor:
    """Decode an image file in RGB: (3, H, W) uint8; or, if `deep`, float32, scaled from 0 to 1.

    Deep greyscale has 8 bits left if not `deep`. Raises UnreadableError for a file that is missing
    or damaged, DataError if the system failed; without the path.
    """
    try:
        with Image.open(path) as image:
            found = _decode(image, is_file=True, rgb=True)
    except Exception as error:  # PIL raises errors of any type for damaged files
        raise_system_failure(error)
        raise UnreadableError(f"data: {error_summary(error)}") from error
    if deep:
        return found if found.is_floating_point() else found.float() / 255
    if not found.is_floating_point():
        return found
    if found.min() < 0 or found.max() > 1:
        raise UnreadableError(
            "data: it has values beyond 16 bits, unlike the other images; convert all to one format"
        )
    if 0 < found.max() * 255 < DIM:
        raise UnreadableError(
            "data: it has 16 bits and is so dark that 8 bits, which the other images have, would keep little "
            "of it; convert all to one format"
        )
    return (found * 255).round().byte()


def decode_image(image: Image.Image) -> Tensor:
    """Return an image as (C, H, W): uint8 with 1 or 3 channels, or float32 with 1 channel if it is deep.

    Values of 16 bits are scaled to 0 to 1; floats stay as they are. Raises UnreadableError if it is damaged,
    DataError if the system failed.
    """
    try:
        return _decode(image, is_file=False, rgb=False)
    except Exception as error:  # an image is often decoded only here, and its data may be damaged
        raise_system_failure(error)
        raise UnreadableError(f"data: {error_summary(error)}") from error


def _decode(image: Image.Image, *, is_file: bool, rgb: bool) -> Tensor:
    image = _upright(image, is_file=is_file)
    if image.mode in DEEP_MODES:
        deep = torch.from_numpy(np.array(image, dtype=np.float32)).unsqueeze(0)
        deep = deep if image.mode == "F" else deep / WHITE_16
        if not torch.isfinite(deep).all():
            raise UnreadableError("it has nan or infinite values")
        return deep.repeat(3, 1, 1) if rgb else deep
    if image.mode not in ("L", "RGB") or "transparency" in image.info:
        image = _opaque(image)
    if rgb and image.mode != "RGB":
        image = image.convert("RGB")
    pixels = torch.from_numpy(np.array(image))
    return pixels.unsqueeze(0) if image.mode == "L" else pixels.movedim(-1, 0)


def _upright(image: Image.Image, *, is_file: bool) -> Image.Image:
    """Turn an image as its EXIF orientation says; an object of user code only if it is as it was opened.

    What user code converts, crops or turns still has the EXIF data, but may be upright already.
    """
    image.load()  # PIL turns a TIFF by itself here, and removes its orientation
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
        if turn is None or not (is_file or _is_as_opened(image)):
            return image
    except Exception as error:  # noqa: BLE001 - damaged EXIF data does not damage the image
        raise_system_failure(error)
        return image
    return image.transpose(turn)


def _is_as_opened(image: Image.Image) -> bool:
    """Whether an image is the one that PIL opened, in its size; only its `thumbnail` changes it in place."""
    if image.format is None:
        return False
    if path := getattr(image, "filename", ""):
        with Image.open(path) as opened:
            return opened.size == image.size
    taken = image.getexif().get_ifd(EXIF_IFD)
    return all(taken.get(tag) in (None, size) for tag, size in zip(EXIF_SIZE, image.size, strict=True))


def _opaque(image: Image.Image) -> Image.Image:
    """Convert to L or RGB. What is transparent becomes white, or black if the image would vanish on white."""
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode == "La":
        image = image.convert("LA")
    if not (_has_alpha(image) or "transparency" in image.info):
        return image.convert("L" if grey else "RGB")
    image = image.convert("LA" if grey else "RGBA")
    alpha = image.getchannel("A")
    colors = image.convert("L" if grey else "RGB")
    if not alpha.getextrema()[1]:
        return colors  # nothing is visible, so alpha cannot be what it says
    visible = np.asarray(colors)[np.asarray(alpha) > 0]
    background: Any = 0 if visible.min() >= ALMOST_WHITE else 255
    if not grey:
        background = (background,) * 3
    return Image.composite(colors, Image.new(colors.mode, colors.size, background), alpha)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "PA", "RGBA", "RGBa")
