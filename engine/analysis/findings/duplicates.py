"""Finds samples that are equal in two parts of the data, by digests of their files or their values."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, MapStyleDataset
from torchconsole.engine.components.data.order import preserved_randomness
from torchconsole.engine.errors import DataError

MOST_COMPARED = 100_000
"""Samples of the larger part that are compared with all of the smaller part."""

MOST_SECONDS = 10.0
"""Time for each part; the comparison is of the samples that were read by then."""

Digests = dict[bytes, list[int]]
"""The numbers of the samples with each digest."""

DigestOf = Callable[[int], bytes | None]
"""Returns the digest of a sample; None if it cannot be read or need not be compared."""


@dataclass(frozen=True)
class EqualSamples:
    """Pairs of numbers of equal samples, one for each such sample of the smaller part."""

    pairs: list[tuple[int, int]]
    compared: int
    """Samples of the smaller part that were compared."""
    of: int
    """Samples of the larger part that they were compared with."""


def equal_samples(smaller: BaseDataset, larger: BaseDataset) -> EqualSamples:
    """Find the samples of `smaller` whose input is equal to that of a sample of `larger`.

    Inputs are compared before transforms; files of which each is one sample, by their bytes.
    """
    few, many = range(len(smaller)), range(0, len(larger), -(-len(larger) // MOST_COMPARED))
    digest_of, other_digest_of = _digests_of_values(smaller), _digests_of_values(larger)
    if (files := _files(smaller, few)) and (other_files := _files(larger, many)):
        shared = set(files.values()) & set(other_files.values())
        digest_of = _digests_of_files(smaller, files, shared)
        other_digest_of = _digests_of_files(larger, other_files, shared)
    with preserved_randomness():
        digests, compared = _read(few, digest_of)
        others, of = _read(many, other_digest_of)
    pairs = [
        (number, others[digest][0])
        for digest, numbers in digests.items()
        if digest in others
        for number in numbers
    ]
    return EqualSamples(sorted(pairs), compared, of)


def _read(numbers: Iterable[int], digest_of: DigestOf) -> tuple[Digests, int]:
    """Return the digests of the samples, and how many samples there was time for."""
    digests: Digests = {}
    deadline, count = time.monotonic() + MOST_SECONDS, 0
    for number in numbers:
        if time.monotonic() > deadline:
            break
        count += 1
        if (digest := digest_of(number)) is not None:
            digests.setdefault(digest, []).append(number)
    return digests, count


def _digests_of_values(dataset: BaseDataset) -> DigestOf:
    def digest_of(number: int) -> bytes | None:
        try:
            tensor, index = dataset.read(number)
        except DataError:
            return None
        # Another index: the sample cannot be read and is replaced by that one.
        return _digest(tensor) if index == number else None

    return digest_of


def _digest(tensor: Tensor) -> bytes:
    content = tensor.detach().contiguous().view(torch.uint8).numpy() if tensor.ndim else tensor.numpy()
    form = f"{tensor.dtype} {tuple(tensor.shape)}".encode()
    return hashlib.blake2b(content.tobytes(), digest_size=16, key=form[:64]).digest()


def _files(dataset: BaseDataset, numbers: Iterable[int]) -> dict[int, int]:
    """Return the size of each sample's file; empty unless each sample is a file of its own."""
    if not isinstance(dataset, MapStyleDataset) or dataset.paths is None:
        return {}
    paths = {number: dataset.path(number) for number in numbers}
    if len(set(paths.values())) < len(paths):
        return {}
    try:
        return {number: Path(path).stat().st_size for number, path in paths.items() if path is not None}
    except OSError:
        return {}


def _digests_of_files(dataset: BaseDataset, sizes: dict[int, int], shared: set[int]) -> DigestOf:
    """Read only the files of which the other part has one of the same size."""
    assert isinstance(dataset, MapStyleDataset)

    def digest_of(number: int) -> bytes | None:
        path = dataset.path(number)
        if path is None or sizes.get(number) not in shared:
            return None
        try:
            return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()
        except OSError:
            return None

    return digest_of
