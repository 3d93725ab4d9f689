"""Datasets in user code: classes and functions, their targets, and messages about errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.data_files import all_of, epoch_of, load, load_user_dataset
from torchconsole.engine.components.data.loader import LoaderTrainBatches
from torchconsole.engine.components.data.tensor_batches import TensorTrainBatches
from torchconsole.engine.errors import ComponentError, DataError, TrustError

USER_DATASETS = """
class Squares(Dataset):
    classes = ["even", "odd"]
    def __init__(self, size=20, scale=1.0):
        self.size, self.scale = size, scale
    def __len__(self):
        return self.size
    def __getitem__(self, i):
        return torch.tensor([i, i * i]) * self.scale, i % 2

class Parts(Squares):
    def __init__(self, root, train=True):
        super().__init__(20 if train else 6)
        self.root = root

class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([])

class Triples(Squares):
    def __getitem__(self, i):
        return i, i, i

class DictTargets(Squares):
    def __getitem__(self, i):
        return torch.zeros(2), {"parity": "odd"}

class DictInputs(Squares):
    def __getitem__(self, i):
        return {"a": 1}, i % 2

class Broken(Squares):
    def __init__(self):
        raise KeyError("no such thing")

class Buggy(Squares):
    def __getitem__(self, i):
        return self.nothing, i % 2

class WrongTargets(Squares):
    def __init__(self):
        super().__init__()
        self.targets = [0] * 20

def tensors(rows):
    return TensorDataset(torch.rand(rows, 3), torch.arange(rows) % 2)

def nothing():
    return 3

number = 3
"""


def test_a_dataset_class_in_user_code_can_be_used(tmp_path: Path) -> None:
    data = load_user_dataset(
        tmp_path / "user.py", "Squares", USER_DATASETS, size=30, scale=0.5, normalize="none", batch_size=8
    )
    assert data.spec.class_names == ["even", "odd"]
    assert isinstance(data.train, LoaderTrainBatches)
    for inputs, targets in epoch_of(data.train):
        assert torch.equal((inputs[:, 0] * 2).long() % 2, targets)
        assert torch.equal(inputs[:, 1], inputs[:, 0] ** 2 * 2)


def test_the_held_out_set_of_a_user_dataset_is_used_for_validation(tmp_path: Path) -> None:
    data = load_user_dataset(tmp_path / "user.py", "Parts", USER_DATASETS, root=str(tmp_path))
    assert (data.train.samples_per_epoch, data.val.samples) == (20, 6)


def test_a_tensor_dataset_that_a_user_function_returns_stays_in_memory(tmp_path: Path) -> None:
    data = load_user_dataset(tmp_path / "user.py", "tensors", USER_DATASETS, rows=20)
    assert isinstance(data.train, TensorTrainBatches)
    assert data.train.samples_per_epoch == 16


def test_targets_in_a_column_of_pandas_are_not_read_from_the_samples(tmp_path: Path) -> None:
    code = """
import pandas
class Table(Dataset):
    def __init__(self):
        self.read = set()
        self.labels = pandas.DataFrame({"label": [0, 1] * 20})["label"]
    def __len__(self):
        return 40
    def __getitem__(self, i):
        self.read.add(i)
        assert len(self.read) < 10, "reads all samples"
        return torch.tensor([float(i)]), self.labels[i]
"""
    data = load_user_dataset(tmp_path / "own.py", "Table", code, normalize="none", in_memory=False)
    assert data.spec.num_outputs in (1, 2)


def test_a_targets_attribute_that_disagrees_with_the_samples_is_not_used(tmp_path: Path) -> None:
    assert all_of(load_user_dataset(tmp_path / "user.py", "WrongTargets", USER_DATASETS).train)[
        1
    ].bincount().tolist() == [8, 8]


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("Squares", {"sise": 3}, "data.sise: Squares takes no argument 'sise', did you mean 'size'?"),
        ("tensors", {}, "data.rows: tensors requires this argument"),
        ("Parts", {}, "data.root: Parts requires this argument"),
        ("Squares", {"size": 0}, "user.py:Squares is empty"),
        (
            "Stream",
            {},
            "is an iterable-style dataset; a map-style one (with __getitem__ and __len__) is needed",
        ),
        ("Triples", {}, "must return (input, target) for each sample, but returns a tuple of 3"),
        ("DictTargets", {}, "returns a dict as target; a number, a row of numbers or the name of a class is"),
        ("DictInputs", {}, "an input must be an image, an array or a tensor, not dict"),
        ("Broken", {}, "data: Broken re"),
        ("Buggy", {}, "user.py:Buggy: AttributeError: 'Buggy' object has no attribute 'nothing'"),
        ("nothing", {}, "returns an object of type int; a dataset with __getitem__ and __len__ is needed"),
        ("number", {}, "is neither a class nor a function"),
        ("Missing", {}, "has no 'Missing'"),
    ],
)
def test_a_message_about_an_unfit_user_dataset_is_one_line(
    tmp_path: Path, name: str, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises((ComponentError, DataError)) as caught:
        load_user_dataset(tmp_path / "user.py", name, USER_DATASETS, **keys)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_untrusted_user_code_does_not_run(tmp_path: Path) -> None:
    user_file = tmp_path / "user.py"
    user_file.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'mark')!r}).touch()\n")
    with pytest.raises(TrustError):
        load(f"{user_file}:Thing")
    assert not (tmp_path / "mark").exists()
