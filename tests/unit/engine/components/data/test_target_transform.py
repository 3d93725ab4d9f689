"""Targets that a preset's function changes: the task, the classes and the messages that follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.data_files import all_of, load, load_user_dataset, write_images, write_mnist
from torchconsole.engine.components.data import DataModule
from torchconsole.engine.errors import ComponentError, DataError

CODE = """
import math
import torch.nn.functional as F

class Numbers(Dataset):
    def __init__(self, scale=1):
        self.scale = scale
    def __len__(self):
        return 20
    def __getitem__(self, i):
        return torch.tensor([float(i)]), i * self.scale

class Rows(Numbers):
    def __getitem__(self, i):
        return torch.tensor([float(i)]), torch.tensor([i, 2.0 * i])

class AtLeast:
    def __init__(self, bound):
        self.bound = bound
    def __call__(self, target):
        return target >= self.bound

def parity(target):
    return target % 2

def parity_in_words(target):
    return "odd" if target % 2 else "even"

def scaled(target, factor=1.0):
    return factor * target

def first(row):
    return row[0]

def of_tensors(target):
    return target.float().clamp(max=3)

def one_hot(target):
    return F.one_hot(torch.tensor(target), 20)

def roots(target):
    return math.sqrt(10 - target)

def ragged(target):
    return [0.0] * (1 + target % 2)

def half_words(target):
    return "odd" if target % 2 else 0

class NoFunction:
    pass
"""


def transformed(folder: Path, name: str, source: str = "Numbers", **arguments: Any) -> DataModule:
    path = folder / "mine.py"
    config = {"name": f"{path}:{name}", **arguments}
    return load_user_dataset(path, source, CODE, target_transform=config)


@pytest.mark.parametrize(
    ("name", "arguments", "source", "task", "outputs", "classes"),
    [
        ("parity", {}, "Numbers", "multiclass", 2, ["0", "1"]),
        ("parity_in_words", {}, "Numbers", "multiclass", 2, ["even", "odd"]),
        ("AtLeast", {"bound": 9}, "Numbers", "binary", 1, ["0", "1"]),
        ("scaled", {"factor": 0.5}, "Numbers", "regression", 1, []),
        ("of_tensors", {}, "Numbers", "regression", 1, []),
        ("one_hot", {}, "Numbers", "multilabel", 20, [str(n) for n in range(20)]),
        ("first", {}, "Rows", "regression", 1, []),
    ],
)
def test_the_task_follows_from_the_transformed_targets(
    tmp_path: Path,
    name: str,
    arguments: dict[str, Any],
    source: str,
    task: str,
    outputs: int,
    classes: list[str],
) -> None:
    spec = transformed(tmp_path, name, source, **arguments).spec
    assert (spec.task, spec.num_outputs, spec.class_names) == (task, outputs, classes)


def test_every_target_is_transformed_with_its_sample(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    config = {"name": f"{path}:scaled", "factor": 0.5}
    data = load_user_dataset(path, "Numbers", CODE, normalize="none", target_transform=config)
    for batches in (data.train, data.val):
        inputs, targets = all_of(batches)
        assert torch.equal(targets, 0.5 * inputs)


def test_functions_of_torch(tmp_path: Path) -> None:
    x = np.arange(20, dtype=np.float32).reshape(-1, 1)
    np.savez(tmp_path / "data.npz", inputs=x, targets=np.expm1(x[:, 0] / 10))
    data = load("NPZ", root=str(tmp_path / "data.npz"), normalize="none", target_transform={"name": "log1p"})
    inputs, targets = all_of(data.train)
    torch.testing.assert_close(targets, inputs / 10)


def test_targets_of_image_sets(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    write_mnist(tmp_path)
    path = tmp_path / "mine.py"
    load_user_dataset(path, "Numbers", CODE)  # the file is trusted now
    config = {"name": f"{path}:parity"}
    data = load("MNIST", root=str(tmp_path), target_transform=config)
    assert (data.spec.num_outputs, data.spec.class_names) == (2, ["0", "1"])
    write_images(tmp_path / "images", {"a": 6, "b": 6, "c": 6})
    data = load("ImageFolder", root=str(tmp_path / "images"), target_transform=config)
    assert data.class_counts is not None
    assert data.spec.num_outputs == 2
    assert int(data.class_counts[0]) > int(data.class_counts[1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("roots", r"cannot transform the target 11 of sample 11 .*training set: ValueError: "),
        ("ragged", r"returns targets of different shapes, such as \(1,\) and \(2,\)"),
        ("half_words", "returns texts for some targets and numbers for others"),
    ],
)
def test_a_transform_that_fails_is_reported(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"data\.target_transform: {message}"):
        transformed(tmp_path, name)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "log1"}, "data.target_transform.name: unknown name 'log1', did you mean 'log1p'?"),
        ({"name": "log1p", "base": 2}, "data.target_transform.base: torch.log1p takes no argument here"),
    ],
)
def test_a_wrong_target_transform_is_reported(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        load("digits", target_transform=config)
    assert str(caught.value) == message


def test_an_object_that_cannot_be_called_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"NoFunction is not callable; name a function or a class"):
        transformed(tmp_path, "NoFunction")
