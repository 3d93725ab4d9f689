"""Datasets in user code: classes and functions, their targets, and messages about errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.data_files import all_of, epoch_of, load, load_user_dataset
from torchconsole.engine.components.data import inspecting
from torchconsole.engine.components.data.expected_targets import same_target
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


def test_targets_in_a_column_of_pandas_are_not_read_from_slow_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspecting, "COMPARE_SECONDS", 0)
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


RELABELED = """
class Relabeled(Dataset):
    def __init__(self, target):
        self.y = [number % 3 for number in range(40)]
        self.target = target
    def __len__(self):
        return 40
    def __getitem__(self, i):
        return torch.tensor([float(i)]), eval(self.target, {"i": i, "y": self.y[i], "torch": torch})
"""


@pytest.mark.parametrize(("target", "classes"), [("min(y, 1)", 2), ("3 if i == 17 else y", 4), ("y", 3)])
def test_targets_are_those_of_the_samples_and_not_of_an_attribute_that_differs_once(
    tmp_path: Path, target: str, classes: int
) -> None:
    data = load_user_dataset(tmp_path / "own.py", "Relabeled", RELABELED, target=target, normalize="none")
    counts = sum(part.bincount(minlength=4) for part in (all_of(data.train)[1], all_of(data.val)[1]))
    assert int((counts > 0).sum()) == classes


@pytest.mark.parametrize(
    ("target", "task"),
    [
        ("float(self.y[i])", "regression"),
        ("int(self.y[i])", "multiclass"),
        ("bool(self.y[i] > 0)", "binary"),
        ("torch.tensor([float(self.y[i] > 0)])", "binary"),
    ],
)
def test_the_type_of_targets_is_that_of_the_samples_and_not_of_an_attribute(
    tmp_path: Path, target: str, task: str
) -> None:
    code = f"""
class Counts(Dataset):
    def __init__(self):
        self.x, self.y = torch.rand(30, 2), torch.arange(30) % 3
        self.targets = self.y > 0
    def __len__(self):
        return 30
    def __getitem__(self, i):
        return self.x[i], {target}
"""
    data = load_user_dataset(tmp_path / "own.py", "Counts", code)
    assert data.spec.task == task


def test_a_function_of_the_targets_of_a_dataset_of_torchvision_is_applied(tmp_path: Path) -> None:
    code = """
from torchvision.datasets.vision import VisionDataset
class Letters(VisionDataset):
    def __init__(self):
        super().__init__(root="", target_transform=lambda y: min(y, 1))
        self.targets = [0] + [n % 3 for n in range(1, 39)] + [1]
    def __len__(self):
        return 40
    def __getitem__(self, i):
        return torch.tensor([float(i)]), self.target_transform(self.targets[i])
Letters.__getitem__.__module__ = "torchvision.datasets.letters"
"""
    data = load_user_dataset(tmp_path / "own.py", "Letters", code, normalize="none")
    assert data.spec.num_outputs == 2


def test_an_attribute_that_differs_from_a_sample_that_was_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspecting, "COMPARE_SECONDS", 0)
    target = "y if i in (0, 20, 39) else min(y, 1)"
    with pytest.raises(DataError, match="has the target 1, but 2 in the attribute y of the dataset; correct"):
        load_user_dataset(tmp_path / "own.py", "Relabeled", RELABELED, target=target)


@pytest.mark.parametrize("target", ["torch.tensor([float(i)]).requires_grad_() * 2", "float(i)"])
def test_targets_with_a_graph_arrive_without_it(tmp_path: Path, target: str) -> None:
    keys = {"target": target, "normalize": "none", "batch_size": 8, "num_workers": 1}
    data = load_user_dataset(tmp_path / "own.py", "Relabeled", RELABELED, in_memory=False, **keys)
    assert not any(targets.requires_grad for _, targets in epoch_of(data.train))
    assert data.targets_require_grad == ("requires_grad_" in target)


def test_a_target_that_is_another_one_each_time(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="return the same target for a sample each time it is read"):
        load_user_dataset(tmp_path / "own.py", "Relabeled", RELABELED, target="float(torch.rand(()))")


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("Squares", {"sise": 3}, "data.sise: Squares takes no argument 'sise', did you mean 'size'?"),
        ("tensors", {}, "data.rows: tensors requires this argument"),
        ("Parts", {}, "data.root: Parts requires this argument"),
        ("Squares", {"size": 0}, "user.py:Squares is empty"),
        ("Triples", {}, "must return (input, target) for each sample, but returns a tuple of 3"),
        ("DictTargets", {}, "returns a dict as target; a number, a row of numbers or the name of a class is"),
        ("DictInputs", {}, "an input must be an image, an array or a tensor, not dict"),
        ("Broken", {}, "data: Broken cannot be built: KeyError: 'no such thing' (user.py, line "),
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


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("torch.eye(4)[i % 4].to_sparse(), i % 3", "sparse tensors are not supported"),
        ("torch.ones(4) * 1j, i % 3", "complex numbers are not supported"),
        ("torch.ones(4), torch.tensor(1j * i)", "complex numbers are not supported"),
    ],
)
def test_tensors_that_cannot_be_inputs_or_targets_are_named(
    tmp_path: Path, sample: str, message: str
) -> None:
    code = f"""
class Own(Dataset):
    def __len__(self): return 30
    def __getitem__(self, i): return {sample}
"""
    with pytest.raises(DataError, match=message):
        load_user_dataset(tmp_path / "own.py", "Own", code)


@pytest.mark.parametrize(("start", "noted"), [(1.7e9, True), (0.0, False)])
def test_digits_that_float32_loses_are_told(tmp_path: Path, start: float, noted: bool) -> None:
    code = f"""
class Times(Dataset):
    def __len__(self): return 30
    def __getitem__(self, i): return torch.tensor([{start} + i, 0.1 + 1e-17 * i], dtype=torch.float64), i % 3
"""
    notes = load_user_dataset(tmp_path / "own.py", "Times", code).notes
    assert any("cannot hold all digits of values such as 1700000029" in note for note in notes) == noted


def test_several_datasets_at_once_are_named(tmp_path: Path) -> None:
    code = """
def pair():
    return tuple(TensorDataset(torch.rand(30, 4), torch.arange(30) % 3) for _ in range(2))
"""
    with pytest.raises(ComponentError, match=r"pair returns 2 datasets; let it take an argument"):
        load_user_dataset(tmp_path / "own.py", "pair", code)


@pytest.mark.parametrize("target", ["1.7e9 + i / 1000", "[1.7e9 + i / 1000, 0.5]"])
def test_floats_of_python_keep_their_digits_as_targets(tmp_path: Path, target: str) -> None:
    code = f"""
class Amounts(Dataset):
    def __len__(self): return 30
    def __getitem__(self, i): return torch.ones(4) * i, {target}
"""
    _, targets = all_of(load_user_dataset(tmp_path / "own.py", "Amounts", code).train)
    assert len(torch.unique(targets[:, 0])) == 24


def test_whole_targets_are_compared_exactly() -> None:
    assert not same_target(torch.tensor(200_000), torch.tensor(200_001))
    assert same_target(torch.tensor([3, 4]), torch.tensor([3, 4], dtype=torch.int16))
    assert same_target(torch.tensor(0.1), torch.tensor(0.1, dtype=torch.float64))
    assert same_target(torch.tensor(3), torch.tensor(3.0))
