"""Iterable-style datasets are read once and then used like any others, or refused with the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.data_files import epoch_of, load_user_dataset
from torchconsole.engine.components.data.sources import streams
from torchconsole.engine.components.data.sources.streams import ReadStream
from torchconsole.engine.errors import DataError

CODE = """
import itertools
from torch.utils.data import IterableDataset

class Stream(IterableDataset):
    def __init__(self, n=40, fail=None):
        self.n, self.fail = n, fail
    def __iter__(self):
        buffer = torch.zeros(3)
        for i in range(self.n) if self.n else itertools.count():
            if i == self.fail:
                raise OSError("disk on fire")
            buffer.fill_(i)
            yield buffer, i % 2

class Parts(Stream):
    def __init__(self, split="train"):
        super().__init__({"train": 30, "val": 10, "test": 5}[split])
"""


def opened(tmp_path: Path, name: str = "Stream", **keys: Any) -> Any:
    return load_user_dataset(tmp_path / "own.py", name, CODE, **keys)


def trained_on(data: Any) -> int:
    """Return the number of samples in an epoch."""
    return sum(len(targets) for _, targets in epoch_of(data.train))


def test_a_stream_is_read_once_and_split(tmp_path: Path) -> None:
    data = opened(tmp_path)
    assert trained_on(data) == 32
    assert any("is an iterable-style dataset: its 40 samples were read once" in note for note in data.notes)


def test_the_samples_are_those_of_the_stream_although_it_reuses_its_buffer() -> None:
    samples = [(torch.full((3,), float(i)), i % 2) for i in range(4)]

    class Reusing(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            buffer = torch.zeros(3)
            for row, label in samples:
                buffer.copy_(row)
                yield buffer, label

    read = streams.read_stream(Reusing(), "own.py:Reusing", None, lambda phase: None)
    assert isinstance(read, ReadStream)
    assert [(row.tolist(), label) for row, label in (read[i] for i in range(len(read)))] == [
        (row.tolist(), label) for row, label in samples
    ]


def test_each_set_is_a_stream_of_its_own(tmp_path: Path) -> None:
    data = opened(tmp_path, "Parts")
    assert trained_on(data) == 30


def test_an_endless_stream_is_read_as_far_as_the_limit_says(tmp_path: Path) -> None:
    data = opened(tmp_path, n=0, limit=50)
    assert any("its first 50 samples (data.limit) were read once" in note for note in data.notes)


def test_an_endless_stream_without_a_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_SAMPLES", 100)
    with pytest.raises(DataError, match=r"has more than 100 samples; set data.limit = 50 to take the first"):
        opened(tmp_path, n=0)


def test_a_stream_that_does_not_fit_into_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "free_host_memory", lambda: 4000)
    with pytest.raises(DataError, match=r"half of the free memory; set data.limit = "):
        opened(tmp_path)


def test_an_error_of_the_stream_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        opened(tmp_path, fail=7)
    assert "own.py:Stream: sample 7: OSError: disk on fire (own.py, line " in str(caught.value)
    assert "\n" not in str(caught.value)
