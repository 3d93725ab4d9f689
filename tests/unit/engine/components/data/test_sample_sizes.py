"""The memory that samples take, from the headers of image files, and the one budget that all sets share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from tests.support.data_files import all_of, load, load_user_dataset, write_images
from torchconsole.engine.components.data import DataModule, in_memory, sample_sizes
from torchconsole.engine.components.data.datasets import MapStyleDataset
from torchconsole.engine.components.data.loader import LoaderEvalBatches, LoaderTrainBatches
from torchconsole.engine.components.data.sample_sizes import header_size, sizes_of
from torchconsole.engine.components.data.tensor_batches import TensorEvalBatches, TensorTrainBatches
from torchconsole.engine.errors import DataError

CROP = {"train": [{"name": "RandomCrop", "size": 4}], "val": [{"name": "CenterCrop", "size": 4}]}
ROTATE = {"train": [{"name": "RandomRotation", "degrees": 5}]}
PIXELS = 8 * 8 * 3


class Images:
    """Decodes image files, and counts them."""

    def __init__(self, paths: list[str], size: tuple[int, int] | None = None) -> None:
        self.paths, self.size, self.read = paths, size, 0

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        self.read += 1
        with Image.open(self.paths[index]) as image:
            return image.resize(self.size) if self.size else image.copy(), 0


def dataset(folder: Path, size: tuple[int, int] | None = None) -> MapStyleDataset:
    paths = sorted(str(path) for path in folder.rglob("*.*"))
    return MapStyleDataset(Images(paths, size), torch.zeros(len(paths)), fixed=True, paths=paths)


def add_large(folder: Path, name: str, size: tuple[int, int] = (80, 60)) -> None:
    Image.fromarray(np.zeros((size[1], size[0], 3), dtype=np.uint8)).save(folder / name)


def test_images_of_one_size_are_not_decoded(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 9})
    found = dataset(tmp_path)
    sizes = sizes_of(found, found.input(0))
    assert (sizes.nbytes, sizes.mismatch, found.source.read) == (9 * PIXELS, None, 1)


def test_all_sizes_count_and_the_first_that_differs_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 9})
    add_large(tmp_path / "a", "x-large.png")
    found = dataset(tmp_path)
    sizes = sizes_of(found, found.input(0))
    assert sizes.nbytes == 9 * PIXELS + 80 * 60 * 3
    assert found.source.read == 2
    assert "a/000.png is 8x8 with 3 channels" in str(sizes.mismatch)
    assert "x-large.png is 80x60" in str(sizes.mismatch)


def test_images_that_the_dataset_resizes_are_alike(tmp_path: Path) -> None:
    """Also if the first one has that size in its file."""
    write_images(tmp_path, {"a": 9})
    add_large(tmp_path / "a", "x-large.png")
    for size in ((8, 8), (20, 10)):
        found = dataset(tmp_path, size)
        sizes = sizes_of(found, found.input(0))
        assert (sizes.nbytes, sizes.mismatch) == (10 * size[0] * size[1] * 3, None)


def test_many_files_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_sizes, "MOST_HEADERS", 5)
    write_images(tmp_path, {"a": 20})
    opened: list[str] = []
    monkeypatch.setattr(
        sample_sizes, "header_size", lambda path: opened.append(path) or (8, 8 * (1 + len(opened) % 2))
    )
    found = dataset(tmp_path)
    sizes_of(found, torch.zeros(3, 8, 8, dtype=torch.uint8))
    assert [path[-7:] for path in opened] == ["000.png", "004.png", "008.png", "012.png", "016.png"]


def test_damaged_files_and_files_of_other_kinds_are_left_to_the_reading(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 9})
    (tmp_path / "a" / "004.png").write_bytes(b"no image")
    found = dataset(tmp_path)
    assert sizes_of(found, found.input(0)).mismatch is None
    (tmp_path / "a" / "000.png").write_bytes(b"no image")
    assert sizes_of(found, found.input(1)).nbytes == 9 * PIXELS


def test_a_camera_held_upright_swaps_width_and_height(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (12, 8)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (12, 8)).save(tmp_path / "plain.jpg")
    assert header_size(str(tmp_path / "turned.jpg")) == (12, 8)
    assert header_size(str(tmp_path / "plain.jpg")) == (8, 12)


def free(monkeypatch: pytest.MonkeyPatch, nbytes: int) -> None:
    monkeypatch.setattr(in_memory, "free_bytes", lambda device: nbytes)


def folder(root: Path, **keys: Any) -> DataModule:
    return load("ImageFolder", root=str(root), normalize="none", **keys)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """20 images for training and 10 for validation."""
    write_images(tmp_path / "train", {"a": 10, "b": 10})
    write_images(tmp_path / "val", {"a": 5, "b": 5})
    return tmp_path


@pytest.mark.parametrize(
    ("images", "train", "val"),
    [(60, True, True), (59, True, False), (40, True, False), (39, False, True), (19, False, False)],
)
def test_all_sets_share_half_of_the_free_memory(
    parts: Path, monkeypatch: pytest.MonkeyPatch, images: int, train: bool, val: bool
) -> None:
    free(monkeypatch, images * PIXELS)
    data = folder(parts)
    assert isinstance(data.train, TensorTrainBatches) is train
    assert isinstance(data.val, TensorEvalBatches) is val
    assert data.in_memory is train
    named = [note for note in data.notes if note.startswith("the samples of the validation set take")]
    assert len(named) == (not val)


def test_a_validation_set_is_not_kept_without_budget_beside_random_training_samples(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_large(parts / "val" / "b", "x-large.png", (8, 8))
    free(monkeypatch, 21 * PIXELS)
    data = folder(parts, transforms=ROTATE)
    assert isinstance(data.val, LoaderEvalBatches)
    free(monkeypatch, 22 * PIXELS)
    assert isinstance(folder(parts, transforms=ROTATE).val, TensorEvalBatches)


def test_true_keeps_the_training_set_beyond_the_budget(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 20 * PIXELS)
    data = folder(parts, in_memory=True)
    assert isinstance(data.train, TensorTrainBatches)
    assert isinstance(data.val, LoaderEvalBatches)
    free(monkeypatch, 20 * PIXELS - 1)
    with pytest.raises(DataError, match=r"data.in_memory: the samples take"):
        folder(parts, in_memory=True)


def test_images_that_differ_in_size_are_reported_before_they_are_read(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_large(parts / "train" / "b", "x-large.png")
    monkeypatch.setattr(in_memory, "read_once", lambda *arguments: pytest.fail("reads the training set"))
    with pytest.raises(DataError, match=r"inputs differ in size: .*x-large\.png is 80x60"):
        folder(parts)


def test_a_test_set_is_not_read_before_the_training(parts: Path) -> None:
    write_images(parts / "test", {"a": 3, "b": 3})
    data = folder(parts)
    assert isinstance(data.test, LoaderEvalBatches)
    assert len(all_of(data.test)[1]) == 6


def test_no_headers_are_read_of_a_set_that_is_not_kept(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(parts / "test", {"a": 3, "b": 3})
    read: list[str] = []
    monkeypatch.setattr(sample_sizes, "header_size", lambda path: read.append(path) or (8, 8))
    assert folder(parts).test is not None
    assert len(read) == 30
    assert not [path for path in read if "/test/" in path]
    read.clear()
    code = """
def own(root, split="train"):
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.v2 import PILToTensor
    return ImageFolder(root / split, PILToTensor())
"""
    load_user_dataset(parts / "own.py", "own", code, root=str(parts), normalize="none")
    assert not read


def test_images_of_different_sizes_with_a_random_crop_are_loaded_one_by_one(parts: Path) -> None:
    add_large(parts / "train" / "b", "x-large.png")
    data = folder(parts, transforms=CROP)
    assert isinstance(data.train, LoaderTrainBatches)
    assert any(note.startswith("images differ in size before they are transformed") for note in data.notes)


def test_floats_in_memory_are_normalized_in_place(parts: Path) -> None:
    """A second copy might not fit; floats of the user's own array must not change."""
    scaled = [{"name": "ToDtype", "dtype": "float32", "scale": True}]
    given = {"mean": [0.5], "std": [0.25]}
    root = {"root": str(parts), "transforms": {"train": scaled, "val": scaled}}
    data = load("ImageFolder", normalize=given, **root)
    raw = load("ImageFolder", normalize="none", **root)
    assert torch.equal(all_of(data.train)[0], (all_of(raw.train)[0] - 0.5) / 0.25)
    assert torch.equal(all_of(data.val)[0], (all_of(raw.val)[0] - 0.5) / 0.25)
