"""Finds out how many bits the images of a source have, so that all of them are decoded alike."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from PIL import Image
from torch import Tensor

from torchconsole.engine.components.data.images import (
    DEEP_MODES,
    DIM,
    WHITE_16,
    UnreadableError,
    decode_file,
)
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import printable

DEEP_SUFFIXES = (".png", ".apng", ".tif", ".tiff", ".pgm", ".pnm", ".ppm", ".jp2")
"""File names of the formats that can have more than eight bits."""

FRAME_SUFFIXES = (".gif", ".tif", ".tiff", ".webp", ".png", ".apng", ".avif")
"""File names of the formats that can have several frames."""

MAX_FRAMED = 100
"""Number of files in which several frames are looked for."""

MAX_HEADERS = 5_000
"""Number of files whose headers tell whether a source has deep images."""

MAX_DECODED = 8
"""Number of files that tell the range of deep images."""

FAR = 16
"""Floats from 0 to 1 and others beyond this are rather of two scales."""

SCALED_BYTE = 257
"""What scales a byte to 16 bits."""

Kind = Literal["8 bits", "16 bits", "floats", "16 bits per color"]


class ImageDecoder:
    """Decodes the image files of one source in one depth: uint8, or float32 if some of them are deep."""

    def __init__(self) -> None:
        self.deep = False
        """Whether files are decoded to float32."""

    def __call__(self, path: str | os.PathLike[str]) -> Tensor:
        """Decode a file. See `decode_file`."""
        return decode_file(path, deep=self.deep)

    def choose_depth(self, paths: Sequence[str]) -> list[str]:
        """Decode to float32 from now on if some of these files have more than eight bits; return notes.

        Raises DataError for images that do not fit together, or that PIL cannot read without a great loss.
        """
        kinds = find_kinds(paths)
        _check_one_range(kinds)
        notes = [*_note_frames(paths), *_note_scales(kinds.get("floats", []))]
        if colors := kinds.get("16 bits per color"):
            if (peak := round(255 * _peak(colors))) < DIM:
                raise DataError(
                    f"data: {printable(colors[0])} and others have 16 bits per color, of which 8 are read, "
                    f"but only values up to {256 * peak + 255:,}: few levels would be left. Scale "
                    "them to 0 to 65,535, or convert them to 8 bits"
                )
            notes.append("images with 16 bits per color are read with 8")
        self.deep = bool(kinds.get("16 bits") or kinds.get("floats"))
        if self.deep:
            notes.append("images with more than 8 bits are read as floats, 16 bits as 0 to 1")
        return notes


def _note_frames(paths: Sequence[str]) -> list[str]:
    """Return a note if one of some files has several frames, such as an animation or a stack of layers."""
    candidates = [path for path in paths if path.lower().endswith(FRAME_SUFFIXES)]
    for path in candidates[:: max(1, -(-len(candidates) // MAX_FRAMED))]:
        with suppress(Exception), warnings.catch_warnings(action="ignore"), Image.open(Path(path)) as image:
            if getattr(image, "is_animated", False):
                return [f"only the first frame of an image is read; {printable(path)} has several"]
    return []


def find_kinds(paths: Sequence[str]) -> dict[Kind, list[str]]:
    """Return files of each kind, from the headers of at most MAX_HEADERS files."""
    candidates = [path for path in paths if path.lower().endswith(DEEP_SUFFIXES)]
    found: dict[Kind, list[str]] = defaultdict(list)
    for path in candidates[:: max(1, -(-len(candidates) // MAX_HEADERS))]:
        if kind := _kind(path):
            found[kind].append(path)
    if len(candidates) < len(paths):
        found["8 bits"] += [next(path for path in paths if not path.lower().endswith(DEEP_SUFFIXES))]
    return found


def _kind(path: str) -> Kind | None:
    """Return the kind of an image file by its header; None if it cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(Path(path)) as image:
            if image.mode in DEEP_MODES:
                return "floats" if image.mode == "F" else "16 bits"
            # PIL's raw mode, such as "RGB;16B", tells what it converts to 8 bits.
            return "16 bits per color" if ";16" in str(image.tile) else "8 bits"
    except Exception:  # noqa: BLE001 - it is reported when the image is decoded
        return None


def _check_one_range(kinds: dict[Kind, list[str]]) -> None:
    """Raise DataError for floats beyond 1, or 10 to 14 bits of 16, beside images that are read as 0 to 1."""
    floats = kinds.get("floats")
    others = [(path, kind) for kind, paths in kinds.items() if kind != "floats" for path in paths[:1]]
    if floats and others and (peak := _peak(floats)) > 1:
        path, kind = others[0]
        raise DataError(
            f"data: {printable(floats[0])} and others have floats up to {peak:g}, but {printable(path)} has "
            f"{kind}, which are read as 0 to 1: convert all images to one format"
        )
    deep, bytes_ = kinds.get("16 bits"), kinds.get("8 bits") or kinds.get("16 bits per color")
    if deep and bytes_ and (peak := _peak(deep)) and not 255 * peak >= DIM and not _are_scaled_bytes(deep):
        raise DataError(
            f"data: {printable(deep[0])} and others have 16 bits, but only values up to "
            f"{round(peak * WHITE_16):,}, so that they would be much darker than {printable(bytes_[0])} and "
            "others with 8 bits: scale them to 0 to 65,535, or convert all images to one format"
        )


def _note_scales(paths: Sequence[str]) -> list[str]:
    """Return a note if some images of floats are up to 1 and others far beyond, as if up to 255."""
    peaks = [(image.max().item(), path) for path, image in _some(paths)]
    low, high = min(peaks, default=(0.0, "")), max(peaks, default=(0.0, ""))
    if not 0 < low[0] <= 1 or high[0] < FAR:
        return []
    return [
        f"images of floats have different ranges: {printable(low[1])} is up to {low[0]:g}, "
        f"{printable(high[1])} up to {high[0]:g}; if their scales differ, convert them to one"
    ]


def _are_scaled_bytes(paths: Sequence[str]) -> bool:
    """Whether images of 16 bits were made from 8 bits, so that they may be dark for another reason."""
    return all(not ((image * WHITE_16).round() % SCALED_BYTE).any() for _, image in _some(paths))


def _peak(paths: Sequence[str]) -> float:
    """Return the largest value in some of these files."""
    return max((image.max().item() for _, image in _some(paths)), default=0.0)


def _some(paths: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield some of these files and their images."""
    for path in paths[:: max(1, len(paths) // MAX_DECODED)]:
        with suppress(UnreadableError):  # reported when the image is decoded as a sample
            yield path, decode_file(path, deep=True)
