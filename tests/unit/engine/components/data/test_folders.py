"""Folders with one subfolder per class: layouts, labels, and images that do not fit together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.data_files import all_of, load, user_folders, write_images
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.errors import ComponentError, DataError, TrustError

CROP = {"train": [{"name": "RandomHorizontalFlip"}]}


def test_a_single_folder_is_split(tmp_path: Path) -> None:
    write_images(tmp_path, {"cat": 10, "dog": 20})
    data = load("ImageFolder", root=str(tmp_path), val_split=0.3)
    assert data.spec.class_names == ["cat", "dog"]
    assert (data.spec.task, data.spec.num_outputs) == ("multiclass", 2)
    assert all_of(data.val)[1].bincount().tolist() == [3, 6]


@pytest.mark.parametrize(
    ("parts", "keys", "sizes"),
    [
        ({"train": 8, "val": 3}, {}, (16, 6, None)),
        ({"train": 8, "validation": 3, "test": 2}, {}, (16, 6, 4)),
        ({"train": 8, "test": 4}, {}, (16, 8, None)),
        ({"train": 8, "test": 4}, {"test_split": 0.25}, (16, 6, 2)),
        ({"train": 10}, {}, (16, 4, None)),
    ],
)
def test_folders_of_training_validation_and_test_sets_are_found(
    parts: dict[str, int], keys: dict[str, Any], sizes: tuple[int, int, int | None], tmp_path: Path
) -> None:
    for part, count in parts.items():
        write_images(tmp_path / part, {"cat": count, "dog": count})
    data = load("ImageFolder", root=str(tmp_path), **keys)
    found = data.train.samples_per_epoch, data.val.samples, data.test.samples if data.test else None
    assert found == sizes


def test_all_sets_use_the_labels_of_the_training_set(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"ant": 3, "bee": 3, "cat": 3})
    write_images(tmp_path / "val", {"bee": 2, "cat": 1})
    assert all_of(load("ImageFolder", root=str(tmp_path)).val)[1].tolist() == [1, 1, 2]
    write_images(tmp_path / "val", {"dog": 1})
    with pytest.raises(DataError, match=r"val/dog is the class 'dog', which the training set does not have"):
        load("ImageFolder", root=str(tmp_path))


def test_two_classes_can_be_binary(tmp_path: Path) -> None:
    write_images(tmp_path, {"cat": 10, "dog": 10})
    data = load("ImageFolder", root=str(tmp_path), task="binary")
    targets = all_of(data.train)[1]
    assert (data.spec.num_outputs, data.spec.class_names) == (1, ["cat", "dog"])
    assert (targets.shape, targets.dtype) == ((16, 1), torch.float32)


def test_images_of_all_modes_become_rgb(tmp_path: Path) -> None:
    for number, mode in enumerate(("L", "RGB", "RGBA", "P", "1", "CMYK")):
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            suffix = "tiff" if mode == "CMYK" else "png"
            Image.new(mode, (5, 4)).save(tmp_path / name / f"{number}.{suffix}")
    assert load("ImageFolder", root=str(tmp_path)).spec.input_shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("transforms", "batch_size"), [({}, 32), ({}, 1), (CROP, 32)], ids=["kept", "kept one by one", "read"]
)
def test_images_of_different_sizes_are_named(tmp_path: Path, transforms: Any, batch_size: int) -> None:
    write_images(tmp_path, {"cat": 8, "dog": 8}, size=(10, 6))
    Image.new("RGB", (7, 5)).save(tmp_path / "dog" / "003.png")
    keys = {"val_split": 1, "transforms": transforms, "batch_size": batch_size, "normalize": "none"}
    with pytest.raises(DataError) as caught:
        list(load("ImageFolder", root=str(tmp_path), **keys).train.epoch(0))
    message = str(caught.value)
    assert "10x6 with 3 channels" in message
    assert "dog/003.png" in message
    assert "7x5 with 3 channels" in message
    assert "RandomResizedCrop" in message
    assert "\n" not in message


def test_a_resize_makes_different_sizes_fit(tmp_path: Path) -> None:
    write_images(tmp_path, {"cat": 8, "dog": 8}, size=(10, 6))
    Image.new("RGB", (7, 5)).save(tmp_path / "dog" / "003.png")
    crop = [{"name": "RandomResizedCrop", "size": 4}]
    resize = [{"name": "Resize", "size": [4, 4]}]
    data = load("ImageFolder", root=str(tmp_path), transforms={"train": crop, "val": resize})
    assert data.spec.input_shape == (3, 4, 4)
    assert len(all_of(data.train)[0]) == 12


def test_a_message_names_only_a_few_of_many_classes_without_images(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"class{number:03}").mkdir()
    with pytest.raises(
        DataError, match=r"has no images in class000, class001, .* and 295 more; add some, or remove"
    ) as caught:
        load("ImageFolder", root=str(tmp_path))
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "data.root: ImageFolder requires this key: set it to the folder"),
        ({"root": "nowhere"}, "data.root: there is no folder nowhere"),
        ({"root": "file"}, "data.root: file is not a folder"),
        ({"root": "empty"}, "data.root: empty has no class folders: put the images of each class into"),
        ({"root": "hollow"}, "data.root: hollow has no images in cat; add some, or remove these folders"),
        ({"root": "single"}, "data: all 8 training samples are of the same class (label 0)"),
        (
            {"root": "single", "extension": [".jpg"]},
            "data.extension: ImageFolder takes no argument 'extension'",
        ),
        ({"root": "single", "task": "regression"}, "regression"),
    ],
)
def test_a_message_about_a_wrong_folder_is_one_line(
    keys: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "single", {"cat": 10})
    (tmp_path / "empty").mkdir()
    (tmp_path / "hollow" / "cat").mkdir(parents=True)
    (tmp_path / "file").touch()
    if message == "regression":
        assert load("ImageFolder", **keys).spec.task == "regression"
        return
    with pytest.raises((DataError, ComponentError)) as caught:
        load("ImageFolder", **keys)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_was_deleted_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, {"cat": 8, "dog": 8})
    data = load("ImageFolder", root=str(tmp_path), transforms=CROP, in_memory=False)
    shutil.rmtree(tmp_path / "cat")
    with pytest.raises(DataError, match=r"cannot read .*cat/\d+\.png: .*No such file"):
        list(data.train.epoch(0))


def test_folders_of_arrays_and_tensors(tmp_path: Path) -> None:
    for name, value in (("low", 0.0), ("high", 9.0)):
        (tmp_path / name).mkdir()
        for number in range(6):
            np.save(tmp_path / name / f"{number}.npy", np.full((5, 2), value))
            torch.save(torch.full((5, 2), value), tmp_path / name / f"{number}.pt")
    data = load("DatasetFolder", root=str(tmp_path), normalize="none")
    assert data.spec.input_shape == (5, 2)
    assert data.train.samples_per_epoch + data.val.samples == 24
    inputs, targets = all_of(data.train)
    assert torch.equal(inputs[:, 0, 0] == 0.0, targets == data.spec.class_names.index("low"))
    with pytest.raises(ComponentError, match="extensions must be a list"):
        load("DatasetFolder", root=str(tmp_path), extensions=".npy")
    only = load("DatasetFolder", root=str(tmp_path), extensions=[".npy"])
    assert only.train.samples_per_epoch + only.val.samples == 12
    (tmp_path / "low" / "0.npy").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"cannot read .*low/0.npy"):
        load("DatasetFolder", root=str(tmp_path))


@pytest.mark.parametrize("extensions", [[".png"], ["PNG"], [".tif", ".npz"], ["jpeg"]])
def test_a_dataset_folder_reads_the_files_with_its_extensions(extensions: list[str], tmp_path: Path) -> None:
    for label, name in enumerate(("dark", "light")):
        (tmp_path / name).mkdir()
        for number in range(4):
            pixels = np.full((6, 5, 3), 50 + 100 * label, dtype=np.uint8)
            for suffix in ("png", "tif", "jpeg"):
                Image.fromarray(pixels).save(tmp_path / name / f"{number}.{suffix}")
            np.savez(tmp_path / name / f"{number}.npz", pixels)
    data = load("DatasetFolder", root=str(tmp_path), extensions=extensions, normalize="none", val_split=2)
    inputs, targets = all_of(data.train)
    assert len(targets) == 8 * len(extensions) - 2
    assert inputs.shape[1:] == (3, 6, 5)
    assert torch.equal(inputs.mean((1, 2, 3)) > 0.4, targets == 1)
    assert any("other files in the class folders are left out: " in note for note in data.notes)


def test_a_dataset_folder_takes_a_loader_in_user_code(tmp_path: Path) -> None:
    write_files = {"low/a.txt": "1 2", "low/b.txt": "2 1", "high/a.txt": "8 9", "high/b.txt": "9 9"}
    for name, text in write_files.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(text)
    keys: dict[str, Any] = {"root": str(tmp_path / "data"), "extensions": [".txt"], "val_split": 2}
    with pytest.raises(ComponentError, match=r"data\.extensions: \.txt files .* set data\.loader"):
        load("DatasetFolder", **keys)
    with pytest.raises(ComponentError, match=r'loader = { name = "own\.py:load" }'):
        load("DatasetFolder", **keys, loader="own.py:read")
    own = tmp_path / "own.py"
    loader = {"name": f"{own}:read", "factor": 2.0}
    own.write_text(
        "import torch\ndef read(path, factor):\n"
        "    return factor * torch.tensor([float(word) for word in open(path).read().split()])\n"
    )
    with pytest.raises(TrustError):
        load("DatasetFolder", **keys, loader=loader)
    with user_folders():
        trust(own)
    data = load("DatasetFolder", **keys, loader=loader, normalize="none")
    inputs, targets = all_of(data.train)
    assert torch.equal(inputs.sum(1) > 20, targets == data.spec.class_names.index("high"))


def test_samples_of_different_types_are_named(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(4):
            sample = np.ones((3, 4, 4), dtype=np.uint8 if number % 2 else np.float32)
            np.save(tmp_path / name / f"{number}.npy", sample)
    with pytest.raises(DataError, match=r"inputs differ in type: .* is (uint8|float32), .* give all inputs"):
        all_of(load("DatasetFolder", root=str(tmp_path), val_split=2, normalize="none").train)
