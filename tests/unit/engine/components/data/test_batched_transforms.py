"""Transforms of whole batches draw for each image, with the distribution of torchvision's for one image."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.data_files import all_of, load, write_images
from torchconsole.engine.components.data.batched_transforms import BatchedTransform, batched
from torchconsole.engine.components.data.loader import LoaderTrainBatches
from torchconsole.engine.components.data.tensor_batches import TensorTrainBatches
from torchconsole.engine.components.data.transforms import build_transform
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.data_schema import TransformConfig
from torchconsole.engine.errors import DataError

DRAWS = 6000
IMAGE = torch.arange(1, 1 + 3 * 6 * 5, dtype=torch.uint8).view(3, 6, 5)

CROP = {"name": "RandomCrop", "size": [4, 4], "padding": 2}
ERASE = {"name": "RandomErasing", "p": 0.6, "scale": [0.1, 0.4], "value": 200}


def both_forms(*steps: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return DRAWS copies of one image, transformed as a batch and one by one: (N, C, H, W) each."""
    configs = [TransformConfig.model_validate(step) for step in steps]
    transform = build_transform("data.transforms.train", configs, UserCode())
    assert transform is not None
    form = batched(transform)
    assert isinstance(form, BatchedTransform)
    torch.manual_seed(0)
    singly = torch.stack([transform(IMAGE) for _ in range(DRAWS)])
    return form(IMAGE.expand(DRAWS, -1, -1, -1), stream=1, position=0), singly


def shares(images: Tensor) -> dict[bytes, float]:
    """Return the share of each distinct image, by its bytes."""
    found, counts = torch.unique(images.flatten(1), dim=0, return_counts=True)
    return {bytes(row.tolist()): int(count) / len(images) for row, count in zip(found, counts, strict=True)}


@pytest.mark.parametrize(
    "steps",
    [
        [CROP],
        [{"name": "RandomCrop", "size": 4}],
        [{**CROP, "fill": 7}],
        [{**CROP, "padding_mode": "reflect"}],
        [{"name": "RandomCrop", "size": 8, "pad_if_needed": True}],
        [{"name": "RandomHorizontalFlip", "p": 0.3}],
        [{"name": "RandomVerticalFlip"}],
        [{"name": "RandomHorizontalFlip"}, {"name": "RandomVerticalFlip", "p": 0.2}],
        [{"name": "CenterCrop", "size": 4}, {"name": "RandomHorizontalFlip"}],
        [{"name": "PILToTensor"}, {"name": "RandomHorizontalFlip"}, {"name": "ToImage"}],
        [
            {"name": "ToImage"},
            CROP,
            {"name": "ConvertImageDtype", "dtype": "uint8"},
            {"name": "ToPureTensor"},
        ],
    ],
)
def test_every_result_is_as_frequent_as_one_by_one(steps: list[dict[str, Any]]) -> None:
    """Each share differs by less than five standard errors of the difference of two such samples."""
    together, singly = (shares(images) for images in both_forms(*steps))
    assert together.keys() == singly.keys()
    for image, share in singly.items():
        error = (2 * max(share, 1 / DRAWS) * (1 - share) / DRAWS) ** 0.5
        assert abs(together[image] - share) < 5 * error


def test_the_usual_chain_of_torchvision_has_a_form_for_batches() -> None:
    chain = [{"name": "ToImage"}, CROP, {"name": "ToDtype", "dtype": "float32", "scale": True}]
    together, singly = both_forms(*chain, {"name": "Normalize", "mean": [0.5], "std": [0.25]})
    assert type(together) is Tensor
    assert together.dtype == singly.dtype == torch.float32
    assert torch.equal(together.unique(), singly.unique())


def test_erased_rectangles_have_the_same_sizes_and_places_as_one_by_one() -> None:
    together, singly = ((images == 200).all(1) for images in both_forms(ERASE))  # (N, H, W)
    fully_erased = [
        ((images == 200).any(1) == erased).all()
        for images, erased in zip(both_forms(ERASE), (together, singly), strict=True)
    ]
    assert all(fully_erased)
    for measure in (
        lambda erased: erased.any(2).any(1).double(),  # whether
        lambda erased: erased.any(2).sum(1).double(),  # height
        lambda erased: erased.any(1).sum(1).double(),  # width
        lambda erased: erased[:, 0, 0].double(),
        lambda erased: erased[:, 3, 2].double(),
        lambda erased: erased[:, 5, 4].double(),
    ):
        one, other = measure(together), measure(singly)
        error = ((one.var() + other.var()) / DRAWS).sqrt()
        assert abs(one.mean() - other.mean()) < 5 * error


def test_erased_pixels_can_be_noise() -> None:
    """The noise is normal and differs in each pixel, as in the transform of one image."""
    chain = [{"name": "ToDtype", "dtype": "float32", "scale": True}, {**ERASE, "value": "random"}]
    together, singly = both_forms(*chain)
    # No pixel of the image is negative, but half of the noise is.
    noise = [images[images < 0] for images in (together, singly)]
    shares_of_noise = [
        len(part) / images.numel() for part, images in zip(noise, (together, singly), strict=True)
    ]
    assert shares_of_noise[0] == pytest.approx(shares_of_noise[1], rel=0.05)
    for statistic in (Tensor.mean, Tensor.std):
        assert statistic(noise[0]).item() == pytest.approx(statistic(noise[1]).item(), rel=0.02)
    assert len(noise[0].unique()) > 0.99 * len(noise[0])


@pytest.mark.parametrize(
    "arguments", [{"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 0.125]}, {"mean": [0.4], "std": [2]}]
)
def test_images_are_normalized_as_one_by_one(arguments: dict[str, Any]) -> None:
    scaled = {"name": "ToDtype", "dtype": "float32", "scale": True}
    together, singly = both_forms(scaled, {"name": "Normalize", **arguments})
    assert torch.equal(together, singly)


def test_normalizing_bytes_or_with_a_std_of_zero_is_one_line(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 10, "b": 10}, size=(8, 8))
    scaled = {"name": "ToDtype", "dtype": "float32", "scale": True}
    half = {"name": "Normalize", "mean": [0.5], "std": [0.5]}
    for chain, reason in (
        ([half], "0: .*float tensor"),
        ([scaled, {**half, "std": [0.0]}], "1: .*division by zero"),
    ):
        with pytest.raises(DataError, match=rf"data.transforms.train.{reason}"):
            load("ImageFolder", root=str(tmp_path), transforms={"train": chain})


def test_each_image_of_a_batch_is_transformed_differently() -> None:
    together, _ = both_forms(CROP, {"name": "RandomHorizontalFlip"})
    assert len(shares(together[:64])) > 30


def test_the_draw_is_a_function_of_stream_and_position(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 30, "b": 34}, size=(10, 8))
    keys: dict[str, Any] = {
        "root": str(tmp_path),
        "batch_size": 8,
        "transforms": {"train": [{"name": "RandomCrop", "size": 6}]},
    }
    data = load("ImageFolder", **keys)
    assert isinstance(data.train, TensorTrainBatches)
    assert data.in_memory is True
    state = torch.get_rng_state()
    full = list(data.train.epoch(2))
    assert torch.equal(torch.get_rng_state(), state)
    rest = list(load("ImageFolder", **keys).train.epoch(2, 3))
    assert all(torch.equal(one[0], other[0]) for one, other in zip(full[3:], rest, strict=True))
    assert not torch.equal(full[0][0], next(iter(data.train.epoch(3)))[0])


def test_images_kept_in_memory_are_read_once(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 10, "b": 10})
    data = load("ImageFolder", root=str(tmp_path), transforms={"train": [{"name": "RandomHorizontalFlip"}]})
    shutil.rmtree(tmp_path / "a")
    assert len(all_of(data.train)[0]) == 16


def test_a_note_names_the_transforms_that_need_one_by_one_loading(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 10, "b": 10})
    turn, flip = {"name": "RandomRotation", "degrees": 5}, {"name": "RandomHorizontalFlip"}
    jitter = {"train": [flip, {"name": "ColorJitter", "brightness": 0.5}, turn]}
    data = load("ImageFolder", root=str(tmp_path), transforms=jitter)
    assert isinstance(data.train, LoaderTrainBatches)
    assert data.in_memory == "auto"
    note, _ = data.notes
    assert note.startswith("ColorJitter and RandomRotation cannot transform whole batches")


def test_images_of_different_sizes_are_loaded_one_by_one(tmp_path: Path) -> None:
    write_images(tmp_path / "a", {"a": 10, "b": 10}, size=(12, 12))
    write_images(tmp_path / "b", {"a": 10, "b": 10}, size=(14, 12))
    for folder in ("a", "b"):
        for image in (tmp_path / "b" / folder).iterdir():
            image.rename(tmp_path / "a" / folder / f"larger-{image.name}")
    data = load(
        "ImageFolder",
        root=str(tmp_path / "a"),
        transforms={"train": [CROP], "val": [{"name": "CenterCrop", "size": 4}]},
    )
    assert isinstance(data.train, LoaderTrainBatches)
    assert data.notes[0].startswith("images differ in size")
    assert all_of(data.train)[0].shape == (32, 3, 4, 4)


def test_in_memory_can_be_switched_off(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 10, "b": 10})
    data = load("ImageFolder", root=str(tmp_path), in_memory=False)
    assert isinstance(data.train, LoaderTrainBatches)
    assert data.in_memory is False


def test_a_crop_larger_than_the_image_is_one_line(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 10, "b": 10}, size=(8, 8))
    with pytest.raises(DataError, match=r"data.transforms.train.0: cannot be applied to .*larger than"):
        load("ImageFolder", root=str(tmp_path), transforms={"train": [{"name": "RandomCrop", "size": 20}]})
