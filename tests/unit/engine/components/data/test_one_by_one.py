"""Sets that are loaded one by one: the room for data loader workers, and how long a batch takes to load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.support.data_files import epoch_of, load, load_user_dataset, same_batches, write_images
from torchconsole.engine.components.data import DataModule, one_by_one
from torchconsole.engine.components.data.one_by_one import OneByOne
from torchconsole.engine.errors import DataError

JITTER = {"train": [{"name": "ColorJitter", "brightness": 0.5}]}

SLOW = """
import time

class Slow(Dataset):
    targets = [0, 1] * 20
    def __len__(self):
        return 40
    def __getitem__(self, i):
        time.sleep(0.002)
        return torch.full((3,), float(i)), self.targets[i]
"""


@pytest.fixture
def data(tmp_path: Path) -> DataModule:
    """128 images for training and 32 for validation, all loaded one by one."""
    write_images(tmp_path, {"a": 80, "b": 80}, size=(4, 4))
    return load("ImageFolder", root=str(tmp_path), transforms=JITTER, batch_size=2, in_memory=False)


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, shared_memory: int) -> None:
    monkeypatch.setattr(one_by_one, "usable_cores", lambda: cores)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: mock.Mock(free=shared_memory))


def loaded(data: DataModule) -> OneByOne:
    assert data.one_by_one is not None
    return data.one_by_one


def test_all_cores_but_one_load_up_to_16(data: DataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, count in ((1, 0), (2, 1), (16, 15), (17, 16), (64, 16)):
        machine(monkeypatch, cores, 1 << 30)
        assert loaded(data).most_workers.count == count


def test_workers_are_limited_by_the_prefetched_batches_of_both_sets(
    data: DataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker prepares two batches ahead, of 2 samples; in the validation set they are parts of a batch."""
    batch = (2 + 2) * 3 * 4 * 4
    machine(monkeypatch, 64, 8 * batch)
    limit = loaded(data).most_workers
    assert limit.count == 3
    assert "shared memory" in limit.advice
    assert "docker run --shm-size" in limit.advice
    machine(monkeypatch, 64, 8 * batch - 1)
    assert loaded(data).most_workers.count == 2
    machine(monkeypatch, 64, 10)
    assert loaded(data).most_workers.count == 0


def test_no_worker_is_without_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, {"a": 5, "b": 5})
    data = load("ImageFolder", root=str(tmp_path), transforms=JITTER, batch_size=4)
    machine(monkeypatch, 64, 1 << 30)
    assert loaded(data).most_workers.count == 2


@pytest.mark.parametrize("keys", [{}, {"transforms": {"train": [{"name": "RandomHorizontalFlip"}]}}])
def test_nothing_is_loaded_one_by_one_if_all_samples_are_in_memory(
    tmp_path: Path, keys: dict[str, Any]
) -> None:
    write_images(tmp_path, {"a": 10, "b": 10})
    assert load("ImageFolder", root=str(tmp_path), **keys).one_by_one is None


def test_a_batch_takes_as_long_as_its_samples(tmp_path: Path) -> None:
    data = load_user_dataset(
        tmp_path / "user.py", "Slow", SLOW, normalize="none", in_memory=False, batch_size=10
    )
    assert 0.02 <= loaded(data).batch_seconds() < 0.2


def test_an_unreadable_sample_among_those_that_are_timed_is_an_error(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 5, "b": 5})
    data = load("ImageFolder", root=str(tmp_path), transforms=JITTER, normalize="none")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(DataError, match=r"cannot read .*/a/"):
        loaded(data).batch_seconds()


def test_the_number_of_workers_can_change_between_two_passes(data: DataModule) -> None:
    expected = [epoch_of(data.train, epoch) for epoch in (0, 1)]
    validation = list(data.val)
    for workers in (1, 3, 0):
        loaded(data).use_workers(workers)
        assert loaded(data).num_workers == workers
        assert all(same_batches(epoch_of(data.train, epoch), expected[epoch]) for epoch in (0, 1))
        assert same_batches(list(data.val), validation)
