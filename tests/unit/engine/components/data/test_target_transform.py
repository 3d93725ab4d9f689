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
    data = load_user_dataset(
        path, "Numbers", CODE, normalize="none", scale_target=False, target_transform=config
    )
    for batches in (data.train, data.val):
        inputs, targets = all_of(batches)
        assert torch.equal(targets, 0.5 * inputs)


def test_functions_of_torch(tmp_path: Path) -> None:
    x = np.arange(20, dtype=np.float32).reshape(-1, 1)
    np.savez(tmp_path / "data.npz", inputs=x, targets=np.expm1(x[:, 0] / 10))
    keys: dict[str, Any] = {"normalize": "none", "scale_target": False}
    data = load("NPZ", root=str(tmp_path / "data.npz"), target_transform={"name": "log1p"}, **keys)
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


TABLE_CODE = """
def below_eight(quality):
    return min(quality, 7)

def half(number):
    return number / 2

def level(text):
    return {"low": 0.25, "mid": 0.5, "high": 3.5}[text]

def first_letter(text):
    return text[0]

def tens(number):
    return number // 10

def above_six(row):
    return (row > 6).float()

def any_above_six(row):
    return bool((row > 12).any())

def rounded_half(number):
    return torch.tensor(number / 2).round()

def unchanged(number):
    return number
"""


def write_table(folder: Path) -> Path:
    """size (a number), quality (3 to 9), level (text), year (many whole numbers), price (fractions)."""
    levels = ("low", "mid", "high")
    rows = [f"{n * 7 % 31 + 0.5},{3 + n % 7},{levels[n % 3]},{1950 + n},{10 + n / 4}" for n in range(40)]
    path = folder / "t.csv"
    path.write_text("\n".join(["size,quality,level,year,price", *rows]))
    return path


@pytest.mark.parametrize(
    ("target", "name", "keys", "task", "classes"),
    [
        ("quality", "below_eight", {}, "multiclass", ["3", "4", "5", "6", "7"]),
        ("quality", "below_eight", {"task": "regression"}, "regression", []),
        ("quality", "half", {}, "regression", []),
        ("level", "level", {}, "regression", []),
        ("level", "first_letter", {}, "multiclass", ["h", "l", "m"]),
        ("year", "tens", {}, "multiclass", ["195", "196", "197", "198"]),
        ("year", "log", {}, "regression", []),
        ("price", "log1p", {}, "regression", []),
        (["quality", "price"], "log1p", {}, "regression", []),
        (["quality", "price"], "above_six", {}, "multilabel", ["quality", "price"]),
        (["quality", "price"], "any_above_six", {}, "binary", ["0", "1"]),
        ("quality", "rounded_half", {"task": "multiclass"}, "multiclass", ["2", "3", "4"]),
    ],
)
def test_the_targets_of_a_table_are_transformed_as_they_are_in_the_file(
    tmp_path: Path, target: Any, name: str, keys: dict[str, Any], task: str, classes: list[str]
) -> None:
    (tmp_path / "mine.py").write_text("")
    load_user_dataset(tmp_path / "mine.py", "Numbers", CODE + TABLE_CODE)  # the file is trusted now
    function = name if name.startswith("log") else f"{tmp_path}/mine.py:{name}"
    path = write_table(tmp_path)
    config = {"name": function}
    data = load("CSV", root=str(path), target=target, features=["size"], target_transform=config, **keys)
    assert (data.spec.task, data.spec.class_names) == (task, classes)


def test_a_transform_gets_the_numbers_and_texts_of_a_table(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    keys: dict[str, Any] = {"root": str(path), "features": ["size"], "scale_target": False, "limit": 40}
    data = load("CSV", target="quality", target_transform={"name": "square"}, task="regression", **keys)
    assert all_of(data.train)[1].unique().tolist() == [9, 16, 25, 36, 49, 64, 81]


def test_a_target_of_a_table_that_cannot_be_transformed_is_named_by_its_line(tmp_path: Path) -> None:
    load_user_dataset(tmp_path / "mine.py", "Numbers", CODE + TABLE_CODE)
    path = write_table(tmp_path)
    path.write_text(path.read_text().replace("high", "other"))
    config = {"name": f"{tmp_path}/mine.py:level"}
    with pytest.raises(DataError, match=r"cannot transform the target 'other' of line 4 of t\.csv"):
        load("CSV", root=str(path), target="level", features=["size"], target_transform=config)


def test_too_many_whole_numbers_need_a_task(tmp_path: Path) -> None:
    load_user_dataset(tmp_path / "mine.py", "Numbers", CODE + TABLE_CODE)
    config = {"name": f"{tmp_path}/mine.py:unchanged"}
    with pytest.raises(DataError, match=r"data.target_transform: returns 40 different .* set data.task to"):
        load("CSV", root=str(write_table(tmp_path)), target="year", target_transform=config)
