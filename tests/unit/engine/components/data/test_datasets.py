"""Datasets that are read one by one: which sample replaces a corrupt one, and which samples are reported."""

from __future__ import annotations

import logging
from collections.abc import Collection

import pytest
import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import CorruptSamples, MapStyleDataset
from torchconsole.engine.components.data.loader_worker import BatchFetcher, BatchRequest
from torchconsole.engine.components.data.measuring import _MomentsOfSamples
from torchconsole.engine.errors import DataError, TorchconsoleError, TrustError

COUNT = 6
LABELS = torch.arange(COUNT) * 10


class Files:
    """Samples whose input is their number; some of them cannot be read."""

    def __init__(self, corrupt: Collection[int]) -> None:
        self.corrupt = corrupt

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index in self.corrupt:
            raise OSError("truncated")
        return torch.tensor([float(index)]), 10 * index


def dataset(corrupt: Collection[int], limit: int = COUNT) -> MapStyleDataset:
    return MapStyleDataset(Files(corrupt), LABELS.clone(), fixed=True, corrupt=CorruptSamples(COUNT, limit))


@pytest.mark.parametrize(
    ("corrupt", "index", "replacement"),
    [([], 2, 2), ([2], 2, 3), ([2, 3], 2, 4), ([5], 5, 0), ([4, 5, 0], 4, 1)],
)
def test_the_next_readable_sample_replaces_a_corrupt_one(
    corrupt: list[int], index: int, replacement: int
) -> None:
    found, read = dataset(corrupt).read(index)
    assert (found.tolist(), read) == ([replacement], replacement)


def test_every_error_for_the_user_is_an_item() -> None:
    """A DataLoader would put a traceback into its message."""

    class Importing:
        def __getitem__(self, index: int) -> None:
            raise TrustError("helper.py is imported")

    samples = MapStyleDataset(Importing(), LABELS.clone(), fixed=True)
    request = BatchRequest(stream=0, position=0, indices=[0])
    for source in (BatchFetcher(samples, None), _MomentsOfSamples(samples, None)):
        assert isinstance(source[request], TrustError)


def test_a_replacement_has_its_own_target_and_the_others_keep_theirs() -> None:
    samples = dataset([1, 2])
    fetcher = BatchFetcher(samples, None)
    batch = fetcher[BatchRequest(stream=0, position=0, indices=[0, 1, 2, 3])]
    assert not isinstance(batch, TorchconsoleError)
    inputs, targets = batch
    assert inputs.flatten().tolist() == [0, 3, 3, 3]
    assert targets.tolist() == [0, 30, 30, 30]
    assert torch.equal(samples.targets, LABELS), "reading does not write to the dataset"


def test_a_subset_replaces_corrupt_samples_by_samples_of_the_subset() -> None:
    subset = dataset([4]).subset(torch.tensor([4, 1, 3]))
    found, read = subset.read(0)
    assert (found.tolist(), read) == ([1], 1)
    assert subset.targets.tolist() == [40, 10, 30]


def test_too_many_corrupt_samples_are_an_error() -> None:
    samples = dataset([1, 2, 3], limit=2)
    with pytest.raises(DataError, match=r"data\.max_corrupt: more than 2 samples .*: cannot read sample 3"):
        samples.read(1)


def test_a_dataset_without_any_readable_sample_is_an_error() -> None:
    with pytest.raises(DataError, match="none of the 6 samples can be read"):
        dataset(range(COUNT)).read(0)


def test_corrupt_samples_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    samples = dataset([0, 1, 2, 4])
    samples.log_corrupt_samples()
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        samples.read(4)
        samples.log_corrupt_samples()
        samples.log_corrupt_samples()
        samples.read(0)
        samples.log_corrupt_samples()
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "data: 1 sample cannot be read; the next readable sample is used instead: sample 4"
    assert second.startswith("data: 4 samples cannot be read")
    assert second.endswith("sample 0, sample 1, sample 2, ...")
