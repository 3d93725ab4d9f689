"""Batches do not depend on where the samples are, on the data loader workers, or on where an epoch starts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.data_files import all_of, epoch_of, load, load_user_dataset, same_batches, write_images
from torchconsole.engine.components.data import DataModule, in_memory, memory_budget
from torchconsole.engine.components.data.loader import LoaderEvalBatches, LoaderTrainBatches
from torchconsole.engine.components.data.order import sample_seed
from torchconsole.engine.components.data.tensor_batches import TensorEvalBatches, TensorTrainBatches
from torchconsole.engine.errors import DataError

RANDOM = {
    "train": [{"name": "RandomCrop", "size": 8, "padding": 2}, {"name": "ColorJitter", "brightness": 0.5}]
}

RANDOM_DATASET = """
import random
import numpy

class Noisy(Dataset):
    def __init__(self, size=40):
        self.targets = [i % 2 for i in range(size)]
    def __len__(self):
        return len(self.targets)
    def __getitem__(self, i):
        noise = [random.random(), numpy.random.rand(), torch.rand(()).item()]
        return torch.tensor([float(i), *noise]), self.targets[i]
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """42 images of two classes."""
    write_images(tmp_path / "images", {"cat": 20, "dog": 22})
    return tmp_path / "images"


def folder(images: Path, **keys: Any) -> DataModule:
    return load("ImageFolder", root=str(images), **{"transforms": RANDOM, "batch_size": 5, **keys})


def test_batches_do_not_depend_on_the_number_of_workers(images: Path) -> None:
    in_process = folder(images)
    assert isinstance(in_process.train, LoaderTrainBatches)
    expected = [epoch_of(in_process.train, epoch) for epoch in (0, 1)]
    validation = all_of(in_process.val)
    assert not same_batches(expected[0], expected[1])
    for workers in (1, 3):
        data = folder(images, num_workers=workers)
        assert all(same_batches(epoch_of(data.train, epoch), expected[epoch]) for epoch in (0, 1))
        assert torch.equal(all_of(data.val)[0], validation[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_start_at_any_batch(images: Path, workers: int) -> None:
    data = folder(images, num_workers=workers)
    full = epoch_of(data.train, 3)
    assert len(full) == data.train.batches_per_epoch == 7
    for start in (0, 1, 6, 7):
        assert same_batches(epoch_of(data.train, 3, start), full[start:])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_is_left_early_does_not_affect_the_next(images: Path, workers: int) -> None:
    data = folder(images, num_workers=workers)
    expected = epoch_of(data.train, 1)
    left = data.train.epoch(0)
    next(left)
    assert same_batches(epoch_of(data.train, 1), expected)


def test_tensors_in_memory_follow_the_same_order() -> None:
    data = load("iris", batch_size=7)
    assert isinstance(data.train, TensorTrainBatches)
    full = epoch_of(data.train, 2)
    assert [len(targets) for _, targets in full] == [7] * 17 + [1]
    assert same_batches(epoch_of(data.train, 2, 5), full[5:])
    assert not same_batches(epoch_of(data.train, 3), full)
    other = load("iris", batch_size=7, seed=2)
    assert not same_batches(epoch_of(other.train, 2), full)


@pytest.mark.parametrize("normalize", ["none", "auto"])
def test_a_model_may_write_to_its_batches(normalize: str) -> None:
    """Neither the data nor the next batch changes, as with a DataLoader."""
    data, unchanged = (load("iris", batch_size=7, normalize=normalize) for _ in range(2))
    scale = torch.nn.Parameter(torch.ones(4))
    for part in (data.train.epoch(0), data.val):
        for inputs, targets in part:
            inputs *= scale
            inputs.sum().backward()
            with torch.no_grad():
                inputs.zero_()
                targets.zero_()
    assert same_batches(epoch_of(data.train), epoch_of(unchanged.train))
    assert same_batches(list(data.val), list(unchanged.val))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_sample_is_seen_once_per_epoch(tmp_path: Path, workers: int) -> None:
    data = load_user_dataset(
        tmp_path / "user.py", "Noisy", RANDOM_DATASET, normalize="none", num_workers=workers, batch_size=6
    )
    assert isinstance(data.train, LoaderTrainBatches)
    seen = [set(all_of_epoch(data, epoch)[:, 0].tolist()) for epoch in (0, 1)]
    assert seen[0] == seen[1]
    assert len(seen[0]) == data.train.samples_per_epoch == 32


def all_of_epoch(data: DataModule, epoch: int) -> torch.Tensor:
    return torch.cat([inputs for inputs, _ in epoch_of(data.train, epoch)])


def test_random_numbers_of_python_numpy_and_torch_depend_only_on_the_sample(tmp_path: Path) -> None:
    """A user dataset that draws from all three generators gives the same samples with and without workers."""
    loaded = [
        load_user_dataset(
            tmp_path / "user.py", "Noisy", RANDOM_DATASET, normalize="none", num_workers=workers, batch_size=6
        )
        for workers in (0, 2)
    ]
    first, second = (all_of_epoch(data, 4) for data in loaded)
    assert torch.equal(first, second)
    assert all(len(column.unique()) == len(column) for column in first[:, 1:].T)
    assert not torch.equal(first[:, 1:], all_of_epoch(loaded[0], 5)[:, 1:])
    validation = [all_of(data.val)[0] for data in (*loaded, loaded[0])]
    assert torch.equal(validation[0], validation[1])
    assert torch.equal(validation[0], validation[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_iterating_does_not_change_the_random_numbers_of_the_training(tmp_path: Path, workers: int) -> None:
    data = load_user_dataset(
        tmp_path / "user.py", "Noisy", RANDOM_DATASET, normalize="none", num_workers=workers
    )

    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    def start() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    start()
    expected = drawn()
    start()
    list(data.val)
    batches = data.train.epoch(0)
    next(batches)
    assert drawn() == expected


def test_loading_does_not_change_the_random_numbers(images: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    folder(images)
    assert torch.equal(torch.rand(3), expected)


def test_workers_serve_an_evaluation_in_inference_mode(images: Path) -> None:
    random_crop = {"val": [{"name": "RandomCrop", "size": 8, "padding": 2}]}
    data = folder(images, num_workers=2, transforms=random_crop)
    assert isinstance(data.val, LoaderEvalBatches)
    with torch.inference_mode():
        first, again = all_of(data.val), all_of(data.val)
    assert torch.equal(first[0], again[0])
    assert len(first[0]) == data.val.samples == 9


def test_images_of_one_size_without_random_transforms_are_kept_in_memory(images: Path) -> None:
    resize = [{"name": "Resize", "size": [6, 4]}]
    kept = folder(images, transforms={"train": resize, "val": resize})
    read = folder(images, transforms={"train": [*resize, {"name": "RandomInvert", "p": 0.0}], "val": resize})
    assert isinstance(kept.train, TensorTrainBatches)
    assert isinstance(kept.val, TensorEvalBatches)
    assert isinstance(read.train, LoaderTrainBatches)
    assert kept.spec.input_shape == (3, 6, 4)
    assert same_batches(epoch_of(kept.train, 1), epoch_of(read.train, 1))


def test_samples_that_are_too_large_for_memory_are_loaded_one_by_one(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = folder(images, transforms={}, normalize="none")
    monkeypatch.setattr(in_memory, "free_bytes", lambda device: 2 * 8 * 8 * 3)
    read = folder(images, transforms={}, normalize="none")
    assert isinstance(read.train, LoaderTrainBatches)
    [memory] = kept.notes
    assert memory == "training data held in memory on cpu (0.0 MiB)"
    note, held_out = read.notes
    assert held_out.startswith("the samples of the validation set take 0.0 MiB, but only")
    assert "more than half of the free memory (0.0 MiB), so training samples are loaded one by one" in note
    assert same_batches(epoch_of(read.train), epoch_of(kept.train))
    assert torch.equal(all_of(read.val)[0], all_of(kept.val)[0])
    # Data that is already in memory stays there.
    digits = load("digits")
    assert isinstance(digits.train, TensorTrainBatches)
    assert digits.notes[0] == "training data held in memory on cpu (0.4 MiB)"


def test_in_memory_true_is_refused_before_reading_if_memory_is_too_small(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_budget, "free_host_memory", lambda: 5 << 20)
    large = [{"name": "Resize", "size": [256, 256]}]
    message = r'^data.in_memory: .* take [\d,.]+ MiB, but only 5\.0 MiB .* free; set it to "auto" or false$'
    with pytest.raises(DataError, match=message):
        folder(images, transforms={"train": large, "val": large}, in_memory=True)
    # Data that is already in memory needs no free memory.
    monkeypatch.setattr(memory_budget, "free_host_memory", lambda: 0)
    assert isinstance(load("digits", in_memory=True).train, TensorTrainBatches)


def test_seeds_of_samples_are_all_different() -> None:
    seeds = {sample_seed(stream, position) for stream in range(10) for position in range(1000)}
    assert len(seeds) == 10_000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_last_batch_that_is_not_full_can_be_dropped(images: Path) -> None:
    for keys in ({}, {"transforms": {}}):
        data = folder(images, drop_last=True, **keys)
        sizes = [len(targets) for _, targets in data.train.epoch(0)]
        assert sizes == [5] * 6
        assert (data.train.batches_per_epoch, data.train.samples_per_epoch) == (6, 30)


@pytest.mark.parametrize("transforms", [{}, RANDOM])
def test_the_balanced_sampler_draws_each_class_equally_often(tmp_path: Path, transforms: Any) -> None:
    write_images(tmp_path, {"rare": 5, "common": 35})
    data = load("ImageFolder", root=str(tmp_path), sampler="balanced", transforms=transforms, batch_size=8)
    assert data.class_counts is not None
    assert data.class_counts.tolist() == [28, 4]
    targets = [torch.cat([y for _, y in epoch_of(data.train, epoch)]) for epoch in (0, 1)]
    assert targets[0].bincount().tolist() == [16, 16]
    assert not torch.equal(targets[0], targets[1])
    assert same_batches(epoch_of(data.train, 1, 2), epoch_of(data.train, 1)[2:])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
def test_evaluation_batches_are_joined_from_parts(images: Path, size: int, workers: int) -> None:
    keys: dict[str, Any] = {"in_memory": False, "val_split": 9, "batch_size": 3, "eval_batch_size": size}
    random_crop = {"val": [{"name": "RandomCrop", "size": 6}], "train": [{"name": "RandomCrop", "size": 6}]}
    data = folder(images, num_workers=workers, transforms=random_crop, normalize="none", **keys)
    batches = list(data.val)
    assert [len(targets) for _, targets in batches] == [
        *[size] * (9 // size),
        *([9 % size] if 9 % size else []),
    ]
    single = folder(images, transforms=random_crop, normalize="none", **{**keys, "batch_size": 1})
    expected = all_of(single.val)
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), expected[0])
    assert torch.equal(torch.cat([targets for _, targets in batches]), expected[1])


def test_parts_of_an_evaluation_batch_that_differ_in_size_are_named(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"a": 6, "b": 6})
    write_images(tmp_path / "val", {"a": 6, "b": 0})
    write_images(tmp_path / "val", {"a": 0, "b": 6}, size=(10, 9))
    data = load("ImageFolder", root=str(tmp_path), in_memory=False, batch_size=2)
    with pytest.raises(DataError, match=r"val/a/000.png is 8x8 .*, .*val/b/000.png is 10x9"):
        list(data.val)


def test_evaluation_batches_are_larger_than_training_batches() -> None:
    assert len(next(iter(load("digits", batch_size=4).val))[1]) == 32
    assert len(next(iter(load("digits", batch_size=4, eval_batch_size=5).val))[1]) == 5


def test_a_message_about_an_unreadable_sample_is_one_line_with_and_without_workers(images: Path) -> None:
    (images / "cat" / "000.png").write_bytes(b"not an image")
    for workers in (0, 2):
        with pytest.raises(DataError) as caught:
            list(folder(images, num_workers=workers, normalize="none").train.epoch(0))
        assert "cannot read" in str(caught.value)
        assert "cat/000.png" in str(caught.value)
        assert "Traceback" not in str(caught.value)
