"""How much memory the samples of a set take: for image files from their headers, without decoding them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from PIL import ExifTags, Image
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, MapStyleDataset
from torchconsole.engine.components.data.loader_worker import SizesDifferError, sizes_differ
from torchconsole.engine.components.data.order import preserved_randomness
from torchconsole.engine.errors import DataError

MOST_HEADERS = 2_000
"""Headers to read of a set, at even distances: less than a second on a local disk. The rest is like these."""

WITH_ORIENTATION = ("JPEG", "MPO", "TIFF", "WEBP")
"""Formats whose orientation is in the header; PIL looks for that of a PNG behind its pixels."""

TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


@dataclass(frozen=True)
class SampleSizes:
    """The size of a set."""

    nbytes: int
    """Bytes of all samples: exact up to MOST_HEADERS samples, else estimated from so many."""
    mismatch: SizesDifferError | None = None
    """The error about two samples that differ in shape, if there are two."""


def sizes_of(dataset: BaseDataset, example: Tensor) -> SampleSizes:
    """Return the sizes of samples as `dataset` gives them; `example` is the first.

    Samples that are not image files, or that the dataset resizes, are assumed to be like the example.
    """
    alike = SampleSizes(len(dataset) * example.nbytes)
    if not isinstance(dataset, MapStyleDataset) or dataset.paths is None or example.ndim != 3:
        return alike
    height, width = example.shape[1:]
    headers = dict(_headers(dataset))
    if headers.get(0) not in ((height, width), (width, height)):
        return alike
    other = next((index for index, size in headers.items() if size != headers[0]), None)
    if other is None:
        return alike
    try:
        with preserved_randomness():
            decoded = dataset.input(other)
    except DataError:
        return alike  # reported when all samples are read
    if decoded.shape == example.shape:
        return alike
    pixels = sum(rows * columns for rows, columns in headers.values()) / len(headers)
    error = sizes_differ((dataset.describe(0), example), (dataset.describe(other), decoded))
    return SampleSizes(int(len(dataset) * pixels * example.nbytes / (height * width)), error)


def _headers(dataset: MapStyleDataset) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the index, and the height and width, of the first sample and others whose header can be read."""
    step = -(-len(dataset) // MOST_HEADERS)
    for index in range(0, len(dataset), step):
        # PIL raises many types of errors; a damaged file is reported when it is decoded.
        with suppress(Exception):
            yield index, header_size(str(dataset.path(index)))


def header_size(path: str) -> tuple[int, int]:
    """Return the height and width of an image in pixels, from its header. Raises what PIL raises."""
    with Image.open(path) as image:
        width, height = image.size
        if image.format in WITH_ORIENTATION and image.getexif().get(ExifTags.Base.Orientation) in TURNED:
            width, height = height, width
        return height, width
