"""Transforms: torchvision's by name with their arguments, user code, and messages about errors."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.data_files import all_of, load, load_user_dataset, write_images
from torchconsole.engine.components.data.transforms import NOT_FOR_ONE_IMAGE
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.config.catalogue import DETERMINISTIC_TRANSFORMS
from torchconsole.engine.errors import ComponentError, DataError, TrustError


@pytest.fixture
def images(tmp_path: Path) -> str:
    write_images(tmp_path / "images", {"cat": 8, "dog": 8}, size=(16, 12))
    return str(tmp_path / "images")


def test_transforms_apply_in_order_and_to_their_own_set(images: str) -> None:
    data = load(
        "ImageFolder",
        root=images,
        transforms={
            "train": [
                {"name": "RandomResizedCrop", "size": 8, "interpolation": "nearest"},
                {"name": "Grayscale"},
            ],
            "val": [{"name": "Resize", "size": 10}, {"name": "CenterCrop", "size": 8}, {"name": "Grayscale"}],
        },
    )
    assert data.spec.input_shape == (1, 8, 8)
    assert all_of(data.train)[0].shape[1:] == all_of(data.val)[0].shape[1:] == (1, 8, 8)


def test_a_transform_has_the_result_of_torchvisions(images: str) -> None:
    v2 = import_torchvision("transforms.v2")
    data = load(
        "ImageFolder", root=images, normalize="none", transforms={"val": [{"name": "Resize", "size": [6, 4]}]}
    )
    raw = load("ImageFolder", root=images, normalize="none")
    expected = v2.Resize([6, 4])((all_of(raw.val)[0] * 255).round().byte()).float() / 255
    assert torch.equal(all_of(data.val)[0], expected)


@pytest.mark.parametrize(
    "transform",
    [
        {"name": "AutoAugment", "policy": "cifar10"},
        {"name": "TrivialAugmentWide"},
        {"name": "RandomErasing", "p": 1.0, "scale": [0.02, 0.1]},
        {"name": "ToDtype", "dtype": "float32", "scale": True},
        {"name": "RandomApply", "p": 0.5, "transforms": [{"name": "GaussianBlur", "kernel_size": 3}]},
        {"name": "RandomChoice", "transforms": [{"name": "RandomHorizontalFlip"}, {"name": "RandomInvert"}]},
        {"name": "ToTensor"},
        {"name": "ToPILImage"},
    ],
)
def test_transforms_take_arguments_of_all_kinds(transform: dict[str, Any], images: str) -> None:
    data = load("ImageFolder", root=images, transforms={"train": [transform]})
    inputs, _ = all_of(data.train)
    assert inputs.dtype == torch.float32
    assert inputs.shape == (12, 3, 12, 16)
    assert inputs.isfinite().all()


TO_TENSOR = {"name": "ToTensor"}
NORMALIZE = {"name": "Normalize", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.5]}
FLIP = {"name": "RandomHorizontalFlip", "p": 1.0}


@pytest.mark.parametrize(
    "train",
    [
        [TO_TENSOR, NORMALIZE],
        [FLIP, TO_TENSOR, NORMALIZE],
        [{"name": "ToPILImage"}, FLIP, TO_TENSOR, NORMALIZE],
        [{"name": "Compose", "transforms": [FLIP, TO_TENSOR, NORMALIZE]}],
        [{"name": "ToImage"}, FLIP, {"name": "ToDtype", "dtype": "float32", "scale": True}, NORMALIZE],
        [{"name": "PILToTensor"}, FLIP, {"name": "ConvertImageDtype", "dtype": "float32"}, NORMALIZE],
    ],
)
@pytest.mark.parametrize("in_memory", ["auto", False])
def test_to_tensor_and_normalize_work_as_in_a_tutorial(
    train: list[dict[str, Any]], in_memory: bool | str, images: str
) -> None:
    """Bytes become 0 to 1, the given mean and std are used, and the inputs are not normalized again."""
    transforms = {"train": train, "val": [TO_TENSOR, NORMALIZE]}
    data = load("ImageFolder", root=images, transforms=transforms, in_memory=in_memory)
    raw = load("ImageFolder", root=images, normalize="none", in_memory=in_memory)
    mean, std = (torch.tensor(NORMALIZE[key]).view(3, 1, 1) for key in ("mean", "std"))
    for found, plain in ((data.val, raw.val), (data.train, raw.train)):
        expected = (all_of(plain)[0] - mean) / std
        flipped = FLIP in train or len(train) != 2
        expected = expected.flip(-1) if flipped and found is data.train else expected
        assert torch.allclose(all_of(found)[0], expected, atol=1e-5)
    assert any("normalize the inputs already" in note for note in data.notes)


def test_normalize_without_to_tensor_is_refused_with_the_remedy(images: str) -> None:
    for train in ([NORMALIZE], [FLIP, NORMALIZE]):
        with pytest.raises(DataError, match=r'put { name = "ToTensor" } before Normalize'):
            all_of(load("ImageFolder", root=images, transforms={"train": train, "val": []}).train)


def test_random_transforms_differ_for_each_sample(images: str) -> None:
    data = load(
        "ImageFolder", root=images, normalize="none", batch_size=12, val_split=4,
        transforms={"train": [{"name": "RandomErasing", "p": 1.0, "value": 0}]},
    )  # fmt: skip
    inputs, _ = next(data.train.epoch(0))
    erased = (inputs == 0).all(1)
    assert len({tuple(mask.flatten().tolist()) for mask in erased}) == 12


def test_listed_transforms_exist_in_torchvision() -> None:
    names = set(dir(import_torchvision("transforms.v2")))
    assert names >= DETERMINISTIC_TRANSFORMS
    newer = {"SanitizeKeyPoints"} if version("torchvision").startswith("0.23.") else set()
    assert names >= NOT_FOR_ONE_IMAGE.keys() - newer
    assert not DETERMINISTIC_TRANSFORMS & NOT_FOR_ONE_IMAGE.keys()


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (
            {"name": "RandomCropp", "size": 3},
            "data.transforms.train.0.name: unknown name 'RandomCropp', did you mean",
        ),
        ({"name": "RandomCrop"}, "data.transforms.train.0.size: RandomCrop requires this argument"),
        ({"name": "RandomCrop", "sise": 3}, "takes no argument 'sise', did you mean 'size'?"),
        (
            {"name": "RandomCrop", "size": "big"},
            "data.transforms.train.0: RandomCrop rejects these arguments",
        ),
        (
            {"name": "Resize", "size": 3, "interpolation": "cubist"},
            "'cubist' is not one of bicubic, bilinear",
        ),
        ({"name": "MixUp"}, "data.transforms.train.0.name: MixUp cannot be used: it mixes whole batches"),
        ({"name": "Lambda"}, "name a function of yours as file.py:function"),
        ({"name": "RandomApply", "transforms": [{"nam": 1}]}, "each item must be a table with a name"),
        ({"name": "os.system"}, "unknown name 'os.system'"),
        ({"name": "os:system"}, "'os' is part of Python's standard library"),
    ],
)
def test_a_message_about_a_wrong_transform_is_one_line(
    transform: dict[str, Any], message: str, images: str
) -> None:
    with pytest.raises(ComponentError) as caught:
        load("ImageFolder", root=images, transforms={"train": [transform]})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_image_transforms_are_refused_for_tables() -> None:
    with pytest.raises(
        ComponentError,
        match=r"data\.transforms\.train: these transforms are for images, but an input has shape \(4,\)",
    ):
        load("iris", transforms={"train": [{"name": "RandomHorizontalFlip"}]})


def test_a_message_about_a_transform_that_cannot_be_applied_is_one_line(images: str) -> None:
    with pytest.raises(DataError, match=r"data\.transforms\.train\.0: cannot be applied to \(3, 12, 16\)"):
        load("ImageFolder", root=images, transforms={"train": [{"name": "RandomCrop", "size": 30}]})


def test_a_message_about_sets_with_different_channels_is_one_line(images: str) -> None:
    with pytest.raises(DataError, match=r"check data\.transforms\.train and \.val"):
        load("ImageFolder", root=images, transforms={"train": [{"name": "Grayscale"}]})


def test_transforms_in_user_code_can_be_used(tmp_path: Path) -> None:
    code = """
class Scale:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, inputs):
        return inputs * self.factor

def shift(inputs, by=1.0):
    return inputs + by

def table():
    return TensorDataset(torch.ones(20, 3), torch.arange(20) % 2)
"""
    user_file = tmp_path / "user.py"
    steps = [{"name": f"{user_file}:Scale", "factor": 3.0}, {"name": f"{user_file}:shift", "by": 2.0}]
    data = load_user_dataset(user_file, "table", code, normalize="none", transforms={"train": steps})
    assert torch.equal(all_of(data.train)[0], torch.full((16, 3), 5.0))
    assert torch.equal(all_of(data.val)[0], torch.ones(4, 3))
    user_file.write_text(user_file.read_text() + "\n# changed\n")
    with pytest.raises(TrustError):
        load("digits", transforms={"train": steps})


def test_torchvision_is_imported_only_if_needed() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from tests.support.data_files import load; load('iris');"
        "assert not {'torchvision', 'torchmetrics'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[5], env=os.environ)


def test_float_images_are_not_scaled(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(20, 3, 8, 8))
    np.savez(tmp_path / "data.npz", inputs=inputs, targets=np.arange(20) % 2)
    data = load(
        "NPZ",
        root=str(tmp_path / "data.npz"),
        normalize="none",
        transforms={"train": [{"name": "RandomHorizontalFlip", "p": 0.0}]},
    )
    found = {round(float(image.sum()), 3) for image in all_of(data.train)[0]}
    assert found <= {round(float(image.sum()), 3) for image in inputs}


def test_transforms_that_leave_an_empty_image_are_an_error(images: str) -> None:
    gone = {"train": [{"name": "Resize", "size": 8}], "val": [{"name": "CenterCrop", "size": 0}]}
    with pytest.raises(
        DataError, match=r"an input of the validation set is empty .*check data\.transforms\.val"
    ):
        load("ImageFolder", root=images, transforms=gone)
