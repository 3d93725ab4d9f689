"""Datasets by name, bundled and of torchvision: their sets, tasks and shapes, and messages about errors."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.data_files import all_of, epoch_of, load, write_cifar10, write_idx, write_mnist
from torchconsole.engine.components.data.sources.vision_sets import find_sets
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.errors import ComponentError, DataError


@pytest.mark.parametrize(
    ("name", "task", "shape", "outputs", "samples"),
    [
        ("digits", "multiclass", (1, 8, 8), 10, 1797),
        ("iris", "multiclass", (4,), 3, 150),
        ("wine", "multiclass", (13,), 3, 178),
        ("breast_cancer", "binary", (30,), 1, 569),
        ("diabetes", "regression", (10,), 1, 442),
    ],
)
def test_bundled_datasets_have_their_task_and_shape(
    name: str, task: str, shape: tuple[int, ...], outputs: int, samples: int
) -> None:
    data = load(name)
    assert (data.spec.task, data.spec.input_shape, data.spec.num_outputs) == (task, shape, outputs)
    assert data.train.samples_per_epoch + data.val.samples == samples
    assert data.test is None
    inputs, targets = all_of(data.train)
    assert inputs.dtype == torch.float32
    assert inputs.shape[1:] == shape
    if task == "multiclass":
        assert (targets.dtype, targets.ndim) == (torch.int64, 1)
        assert len(data.spec.class_names) == outputs
        assert data.class_counts is not None
        assert torch.equal(data.class_counts, targets.bincount())
    else:
        assert (targets.dtype, targets.shape) == (torch.float32, (len(inputs), 1))


def test_class_counts_of_binary_and_regression_datasets() -> None:
    binary, regression = load("breast_cancer"), load("diabetes")
    assert binary.class_counts is not None
    assert binary.class_counts.tolist() == [170, 285]
    assert binary.spec.class_names == ["malignant", "benign"]
    assert (regression.class_counts, regression.spec.class_names) == (None, [])


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_the_test_set_of_mnist_like_datasets_is_used_for_validation(tmp_path: Path, name: str) -> None:
    write_mnist(tmp_path, name)
    data = load(name, root=str(tmp_path), normalize="none")
    assert (data.train.samples_per_epoch, data.val.samples) == (60, 20)
    assert data.spec.input_shape == (1, 28, 28)
    inputs, targets = all_of(data.val)
    first, label = getattr(import_torchvision("datasets"), name)(tmp_path, train=False)[7]
    assert torch.equal((inputs[7, 0] * 255).round().byte(), torch.from_numpy(np.array(first)))
    assert int(targets[7]) == label
    assert data.notes[:1] == ["the dataset's own held-out set is used for validation (20 samples)"]


def test_a_test_set_is_split_off_the_held_out_set(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    data = load("MNIST", root=str(tmp_path), test_split=0.5)
    assert data.test is not None
    assert (data.train.samples_per_epoch, data.val.samples, data.test.samples) == (60, 10, 10)
    assert all_of(data.test)[1].bincount().tolist() == [1] * 10


def test_emnist_needs_its_split_argument(tmp_path: Path) -> None:
    raw = tmp_path / "EMNIST" / "raw"
    labels = np.arange(40) % 26 + 1
    for part in ("train", "test"):
        write_idx(raw, f"emnist-letters-{part}", np.zeros((40, 28, 28)), labels)
    with pytest.raises(ComponentError, match=r"data\.split: EMNIST requires this argument"):
        load("EMNIST", root=str(tmp_path))
    data = load("EMNIST", root=str(tmp_path), split="letters", normalize="none")
    assert data.spec.num_outputs == 27
    assert data.spec.class_names[1] == "a"


def test_cifar10_has_channels_first_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_cifar10(tmp_path, monkeypatch)
    data = load("CIFAR10", root=str(tmp_path), normalize="none", batch_size=30)
    assert data.spec.input_shape == (3, 32, 32)
    assert data.spec.class_names[3] == "class 3"
    assert (data.train.batches_per_epoch, data.train.samples_per_epoch) == (4, 100)
    inputs, _ = all_of(data.val)
    assert torch.equal((inputs * 255).round().byte(), torch.from_numpy(images[100:]))


def test_svhn_selects_its_set_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 30), dtype=np.uint8)
    svhn = import_torchvision("datasets").SVHN
    lists = {}
    for part in ("train", "test"):
        savemat(tmp_path / f"{part}_32x32.mat", {"X": images, "y": np.arange(30)[:, None] % 10 + 1})
        lists[part] = ["", f"{part}_32x32.mat", _md5(tmp_path / f"{part}_32x32.mat")]
    monkeypatch.setattr(svhn, "split_list", lists)
    data = load("SVHN", root=str(tmp_path), normalize="none")
    assert (data.train.samples_per_epoch, data.val.samples, data.spec.num_outputs) == (30, 30, 10)
    one_set = load("SVHN", root=str(tmp_path), split="test", val_split=10)
    assert (one_set.train.samples_per_epoch, one_set.val.samples) == (20, 10)


def test_usps_reads_its_own_format(tmp_path: Path) -> None:
    line = " ".join(f"{pixel + 1}:{(pixel % 16) / 8 - 1}" for pixel in range(256))
    for name in ("usps.bz2", "usps.t.bz2"):
        (tmp_path / name).write_bytes(
            bz2.compress("".join(f"{label % 10 + 1} {line}\n" for label in range(20)).encode())
        )
    data = load("USPS", root=str(tmp_path), normalize="none")
    assert data.spec.input_shape == (1, 16, 16)
    assert data.spec.num_outputs == 10


def test_fake_data_takes_its_own_arguments() -> None:
    data = load("FakeData", size=40, image_size=[3, 12, 10], num_classes=4, val_split=8)
    assert data.spec.input_shape == (3, 12, 10)
    assert data.spec.num_outputs == 4
    assert (data.train.samples_per_epoch, data.val.samples) == (32, 8)


def test_every_classification_set_of_torchvision_is_offered() -> None:
    known = set(find_sets())
    assert {"CIFAR100", "STL10", "Food101", "Flowers102", "ImageNet", "EuroSAT", "GTSRB", "CelebA"} <= known
    assert not {"CocoDetection", "Kinetics", "Sintel", "VOCSegmentation", "VisionDataset"} & known


@pytest.mark.parametrize("name", sorted(find_sets().keys() - {"ImageFolder", "DatasetFolder", "FakeData"}))
def test_a_message_about_a_missing_dataset_is_one_line(name: str, tmp_path: Path) -> None:
    needed: dict[str, dict[str, Any]] = {"EMNIST": {"split": "letters"}}
    with pytest.raises(DataError) as caught:
        load(name, root=str(tmp_path / "nowhere"), **needed.get(name, {}))
    message = str(caught.value)
    assert message.startswith(f"data: {name} ")
    assert "\n" not in message
    assert str(tmp_path / "nowhere") in message


def test_the_message_about_a_missing_dataset_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHCONSOLE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=rf"CIFAR10 is not in {tmp_path}: set data\.download = true"):
        load("CIFAR10")


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("CIFAR11", {}, "data.name: unknown name 'CIFAR11', did you mean 'CIFAR10'?"),
        ("digit", {}, "did you mean 'digits'?"),
        ("CocoDetection", {}, "data.name: CocoDetection is not for image classification: it has boxes"),
        ("CIFAR10", {"trian": False}, "data.trian: CIFAR10 takes no argument 'trian', did you mean 'train'?"),
        ("digits", {"size": 3}, "data.size: digits takes no argument 'size'"),
        ("FakeData", {"size": 0}, "data: FakeData is empty"),
        ("FakeData", {"size": "many"}, "data: FakeData has no length: TypeError"),
        ("FakeData", {"image_size": [3, "x"]}, "data: cannot read sample 0 of FakeData: TypeError"),
        ("FakeData", {"size": 1}, "of 1 sample leave no training samples"),
        ("SVHN", {"split": "training"}, "data: SVHN rejects these arguments: Unknown value 'training'"),
    ],
)
def test_a_message_about_a_wrong_name_or_argument_is_one_line(
    name: str, keys: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises((ComponentError, DataError)) as caught:
        load(name, root=str(tmp_path), **keys)
    assert message in str(caught.value)


def test_a_message_about_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    images = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:1000])
    with pytest.raises((ComponentError, DataError), match="MNIST"):
        load("MNIST", root=str(tmp_path))


def test_targets_are_read_from_the_samples_if_the_attribute_has_another_form(tmp_path: Path) -> None:
    """The targets attribute of QMNIST has eight columns; its samples have the first."""
    raw = tmp_path / "QMNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "test"):
        images = np.zeros((30, 28, 28), dtype=np.uint8)
        labels = np.zeros((30, 8), dtype=">i4")
        labels[:, 0] = np.arange(30) % 10
        _write_idx2(raw / f"qmnist-{part}-images-idx3-ubyte", images, 0x08)
        _write_idx2(raw / f"qmnist-{part}-labels-idx2-int", labels, 0x0C)
    data = load("QMNIST", root=str(tmp_path), normalize="none")
    assert data.spec.task == "multiclass"
    assert epoch_of(data.train)[0][1].ndim == 1


def _write_idx2(path: Path, array: np.ndarray[Any, Any], kind: int) -> None:
    header = bytes([0, 0, kind, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.tobytes())


def _md5(path: Path) -> str:
    import hashlib

    return hashlib.md5(path.read_bytes()).hexdigest()
