"""Arrays on disk: shapes, types and labels, and messages about errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.data_files import all_of, load
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.models import build_model
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.errors import ComponentError, DataError

LABELS = np.arange(30) % 3


def npz(folder: Path, **arrays: Any) -> str:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("shape", "dtype", "input_shape"),
    [
        ((30, 4), np.float64, (4,)),
        ((30, 4), np.uint8, (4,)),
        ((30, 4), np.int32, (4,)),
        ((30, 4), np.float16, (4,)),
        ((30, 9, 8), np.uint8, (1, 9, 8)),
        ((30, 9, 8, 3), np.uint8, (3, 9, 8)),
        ((30, 3, 9, 8), np.uint8, (3, 9, 8)),
        ((30, 9, 8), np.float32, (9, 8)),
        ((30, 2, 3, 4, 5), np.float32, (2, 3, 4, 5)),
    ],
)
def test_inputs_of_many_shapes_and_types_are_accepted(
    tmp_path: Path, shape: tuple[int, ...], dtype: Any, input_shape: tuple[int, ...]
) -> None:
    inputs = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    data = load("NPZ", root=npz(tmp_path, inputs=inputs, targets=LABELS))
    assert data.spec.input_shape == input_shape
    found, targets = all_of(data.train)
    assert found.dtype == torch.float32
    assert abs(float(found.mean())) < 1e-4
    assert targets.dtype == torch.int64


def test_the_names_of_the_arrays_can_be_given(tmp_path: Path) -> None:
    torch.save({"x": torch.rand(30, 4), "y": torch.from_numpy(LABELS)}, tmp_path / "data.pt")
    data = load("Tensors", root=str(tmp_path / "data.pt"), inputs="x", targets="y")
    assert (data.spec.num_outputs, data.spec.class_names) == (3, ["0", "1", "2"])


def test_whole_numbers_stay_indices_without_normalization(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 1000, (30, 12))
    data = load("NPZ", root=npz(tmp_path, inputs=tokens, targets=LABELS), normalize="none")
    assert all_of(data.train)[0].dtype == torch.int64
    assert data.spec.input_shape == (12,)


@pytest.mark.parametrize(
    ("targets", "task", "outputs"),
    [
        (LABELS, "multiclass", 3),
        (LABELS[:, None], "multiclass", 3),
        (LABELS.astype(np.uint8), "multiclass", 3),
        (LABELS % 2, "multiclass", 2),
        ((LABELS % 2).astype(np.float32), "binary", 1),
        (LABELS % 2 == 0, "binary", 1),
        (np.eye(3)[LABELS], "multilabel", 3),
        (np.eye(3, dtype=np.int64)[LABELS], "multilabel", 3),
        (LABELS / 7, "regression", 1),
        (np.stack([LABELS / 7, LABELS / 3], 1), "regression", 2),
    ],
)
def test_targets_decide_the_task(tmp_path: Path, targets: Any, task: str, outputs: int) -> None:
    data = load("NPZ", root=npz(tmp_path, inputs=np.random.rand(30, 4), targets=targets))
    assert (data.spec.task, data.spec.num_outputs) == (task, outputs)
    found = all_of(data.train)[1]
    if task == "multiclass":
        assert (found.dtype, found.ndim) == (torch.int64, 1)
    else:
        assert (found.dtype, tuple(found.shape)) == (torch.float32, (24, outputs))


@pytest.mark.parametrize(
    ("targets", "keys", "message"),
    [
        (LABELS + 1, {}, "data: labels run from 1 to 3; number the classes from 0"),
        (
            LABELS - 1,
            {},
            "data: multiclass labels must be whole numbers from 0; sample 0 in the training set has -1",
        ),
        (
            LABELS * 1000,
            {},
            "labels run up to 2000, but only 3 different ones occur; number the classes from 0",
        ),
        (
            LABELS * 0,
            {},
            "data: all 24 training samples are of the same class (label 0); at least two classes are needed",
        ),
        (np.zeros(30), {}, "all 24 training samples are of the same class"),
        (LABELS, {"task": "binary"}, "binary labels must be 0 or 1; sample 2 in the training set has 2"),
        (LABELS / 7, {"task": "multiclass"}, "multiclass labels must be whole numbers from 0"),
        (LABELS, {"task": "multilabel"}, "data.task: multilabel does not fit targets of 1 column"),
        (
            1 - np.eye(3)[LABELS],
            {"task": "multiclass"},
            "data.task: multiclass does not fit targets of 3 columns",
        ),
        (
            np.where(LABELS > 1, np.nan, LABELS / 7),
            {},
            "the target of sample 2 in the training set is not a finite",
        ),
        (np.zeros((30, 2, 2)), {}, "a target must be a number or a row of numbers, but has shape (2, 2)"),
        (
            LABELS[:20],
            {},
            "inputs (30, 4) and targets (20,) must both have the samples along their first axis",
        ),
        (np.array(["a"] * 30), {}, "expected an array of numbers"),
        (np.array([{}] * 30), {}, "cannot read arrays from"),
    ],
)
def test_a_message_about_unfit_targets_is_one_line(
    tmp_path: Path, targets: Any, keys: dict[str, Any], message: str
) -> None:
    path = npz(tmp_path, inputs=np.random.rand(30, 4), targets=targets)
    with pytest.raises(DataError) as caught:
        load("NPZ", root=path, **keys)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_message_about_an_unfit_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"cannot read arrays from .*table\.csv: not an \.npz file$"):
        load("NPZ", root=str(tmp_path / "table.csv"))
    path = npz(tmp_path, inputs=np.array([[1.0, np.nan]] * 30), targets=LABELS)
    with pytest.raises(DataError, match="inputs has nan or infinite values"):
        load("NPZ", root=path)
    with pytest.raises(DataError, match=r"has no array 'input'; set data\.inputs .*, did you mean 'inputs'"):
        load("NPZ", root=path, inputs="input")
    with pytest.raises(ComponentError, match="inputs and targets must be names of arrays"):
        load("NPZ", root=path, inputs=3)
    with pytest.raises(DataError, match="data: the training set is empty"):
        load("NPZ", root=npz(tmp_path, inputs=np.zeros((0, 4)), targets=np.zeros(0)))
    for name, content in (("bad.npz", b"PK"), ("bad.pt", b"PK"), ("array.npz", None), ("list.pt", None)):
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        elif name == "list.pt":
            torch.save([1], file)
        else:
            with file.open("wb") as stream:
                np.save(stream, LABELS)
        with pytest.raises(DataError, match=name) as caught:
            load("NPZ", root=str(file))
        assert "\n" not in str(caught.value)


class Mark:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["data.pt", "data.npz"])
def test_a_file_cannot_run_code(tmp_path: Path, name: str) -> None:
    mark, file = tmp_path / "mark", tmp_path / name
    if name.endswith("pt"):
        torch.save({"inputs": Mark(mark), "targets": torch.zeros(3)}, file)
    else:
        np.savez(file, inputs=np.array([Mark(mark)], dtype=object), targets=LABELS)
    with pytest.raises(DataError):
        load("NPZ", root=str(file))
    assert not mark.exists()


def test_one_hot_targets_can_be_classes(tmp_path: Path) -> None:
    root = npz(tmp_path, inputs=np.zeros((30, 4)), targets=np.eye(3)[LABELS])
    data = load("NPZ", root=root, task="multiclass")
    assert (data.spec.task, data.spec.num_outputs) == ("multiclass", 3)
    assert sorted(all_of(data.train)[1].tolist() + all_of(data.val)[1].tolist()) == sorted(LABELS)
    note = "each sample has exactly one label; if these are classes, set data.task = 'multiclass'"
    assert note in load("NPZ", root=root).notes
    assert note not in load("NPZ", root=root, task="multilabel").notes


def test_what_is_not_read_or_may_be_transposed_is_noted(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((30, 9, 8, 3), dtype=np.float32)
    arrays = {"x_train": images, "y_train": LABELS, "x_test": images, "y_test": LABELS}
    keys = {"root": npz(tmp_path, **arrays), "inputs": "x_train", "targets": "y_train"}
    notes = load("NPZ", **keys).notes
    assert "arrays that are not read: x_test, y_test" in notes
    assert any(
        "(30, 9, 8, 3): if these are images with their channels last, save x_train.tr" in n for n in notes
    )
    with pytest.raises(ComponentError, match=r"are the channels last\? Put them first"):
        build_model(ModelConfig(name="SimpleCNN"), load("NPZ", **keys).spec, UserCode())


def test_series_keep_their_digits_until_they_are_normalized(tmp_path: Path) -> None:
    times = 1.7e9 + np.arange(30 * 5 * 2, dtype=np.float64).reshape(30, 5, 2)
    inputs, _ = all_of(load("NPZ", root=npz(tmp_path, inputs=times, targets=LABELS)).train)
    assert len(torch.unique(inputs)) > 100
    assert inputs.dtype == torch.float32
    assert abs(float(inputs.mean())) < 0.01


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64, np.longdouble])
def test_labels_of_unusual_types_are_classes_and_amounts_stay_amounts(tmp_path: Path, dtype: Any) -> None:
    inputs = np.random.default_rng(0).random((30, 4)).astype(np.longdouble)
    data = load("NPZ", root=npz(tmp_path, inputs=inputs, targets=LABELS.astype(dtype)))
    assert data.spec.task == ("regression" if dtype is np.longdouble else "multiclass")


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (torch.rand(30, 4) * 1j, torch.arange(30) % 3, "data.pt: inputs: complex numbers are not supported"),
        (torch.rand(30, 4), torch.rand(30) * 1j, "data.pt: targets: complex numbers are not supported"),
        (torch.eye(30).to_sparse(), torch.arange(30) % 3, "inputs: sparse tensors are not supported"),
        (2**60 + torch.arange(120).reshape(30, 4), torch.arange(30) % 3, "that 64-bit floats cannot tell"),
        (
            torch.from_numpy(np.full((30, 4), 2**63, dtype=np.uint64)),
            torch.arange(30) % 3,
            "inputs: an array has 9223372036854775808, but whole numbers above",
        ),
    ],
)
def test_values_that_would_be_lost_are_refused(
    tmp_path: Path, inputs: Any, targets: Any, message: str
) -> None:
    torch.save({"inputs": inputs, "targets": targets}, tmp_path / "data.pt")
    with pytest.raises(DataError) as caught:
        load("Tensors", root=str(tmp_path / "data.pt"))
    assert message in str(caught.value)


def test_times_in_nanoseconds_are_inputs(tmp_path: Path) -> None:
    times = 1_700_000_000_000_000_000 + np.arange(120).reshape(30, 4) * 1_000_000
    inputs, _ = all_of(load("NPZ", root=npz(tmp_path, inputs=times, targets=LABELS)).train)
    assert len(torch.unique(inputs[:, 0])) == 24


@pytest.mark.parametrize(("targets", "noted"), [(LABELS * 1.0, True), (LABELS / 2, False)])
def test_labels_as_floats_are_told(tmp_path: Path, targets: Any, noted: bool) -> None:
    data = load("NPZ", root=npz(tmp_path, inputs=np.random.rand(30, 4), targets=targets))
    assert data.spec.task == "regression"
    assert any("set data.task = 'multiclass'" in note for note in data.notes) == noted
