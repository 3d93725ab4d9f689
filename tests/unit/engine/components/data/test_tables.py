"""CSV files: columns, categories, missing values, labels and amounts, and messages about errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.data_files import all_of, load
from torchconsole.engine.components.data import DataModule, open_data
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.config.schema import TrainingConfig
from torchconsole.engine.errors import ComponentError, DataError

ROWS = 40


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """width and height (numbers), colour and kind (text), price (a fraction), stars (a whole number)."""
    lines = ["width,height,colour,kind,price,stars"]
    for row in range(ROWS):
        colour, kind = ("red", "blue", "green")[row % 3], ("cat", "dog")[row % 2]
        lines.append(f"{row},{row * row / 2},{colour},{kind},{row / 7},{row % 4}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def csv(path: Path, **keys: Any) -> DataModule:
    return load("CSV", root=str(path), **keys)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_text_columns_are_labels_or_categories(table: Path) -> None:
    data = csv(table, target="kind", features=["width", "colour"])
    assert (data.spec.task, data.spec.class_names) == ("multiclass", ["cat", "dog"])
    assert data.spec.input_shape == (4,)
    inputs, targets = all_of(data.train)
    assert targets.bincount().tolist() == [16, 16]
    # Numbers are normalized, categories stay zeros and ones.
    assert abs(float(inputs[:, 0].mean())) < 1e-5
    assert float(inputs[:, 0].std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert torch.equal(inputs[:, 1:].sum(1), torch.ones(32))
    assert set(inputs[:, 1:].flatten().tolist()) == {0.0, 1.0}


def test_by_default_all_other_columns_are_features(table: Path) -> None:
    assert csv(table, target="kind").spec.input_shape == (2 + 3 + 2,)
    assert csv(table, target="kind", categorical=["stars"]).spec.input_shape == (3 + 3 + 4,)


@pytest.mark.parametrize(
    ("keys", "task", "outputs", "names"),
    [
        ({"target": "price"}, "regression", 1, []),
        ({"target": "stars"}, "multiclass", 4, ["0", "1", "2", "3"]),
        ({"target": "stars", "task": "regression"}, "regression", 1, []),
        ({"target": "kind", "task": "binary"}, "binary", 1, ["cat", "dog"]),
        ({"target": ["price", "width"]}, "regression", 2, []),
    ],
)
def test_the_target_decides_the_task(
    table: Path, keys: dict[str, Any], task: str, outputs: int, names: list[str]
) -> None:
    spec = csv(table, features=["height", "colour"], **keys).spec
    assert (spec.task, spec.num_outputs, spec.class_names) == (task, outputs, names)


def test_targets_that_are_not_standardized_stay_as_they_are(table: Path) -> None:
    data = csv(table, target="price", features=["height"], scale_target=False)
    values = sorted([*all_of(data.train)[1].flatten().tolist(), *all_of(data.val)[1].flatten().tolist()])
    assert values == pytest.approx([row / 7 for row in range(ROWS)])


def test_several_target_columns_of_zeros_and_ones_are_multilabel(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("x;sea;sun\n" + "\n".join(f"{row}.5;{row % 2};{row // 2 % 2}" for row in range(20)))
    data = csv(path, target=["sea", "sun"])
    assert (data.spec.task, data.spec.num_outputs, data.spec.class_names) == ("multilabel", 2, ["sea", "sun"])
    targets = all_of(data.train)[1]
    assert (targets.shape, targets.dtype) == ((16, 2), torch.float32)
    assert data.class_counts is not None
    assert data.class_counts.tolist() == targets.sum(0).tolist()


def test_labels_need_not_start_at_zero(table: Path) -> None:
    change(table, "dog,", "x dog,")
    assert csv(table, target="kind").spec.class_names == ["cat", "x dog"]
    for stars in (0, 1, 2):
        change(table, f",{stars}\n", f",{stars + 10}\n")
    assert csv(table, target="stars", features=["width"]).spec.class_names == ["3", "10", "11", "12"]


def test_missing_values_are_an_error_by_default(table: Path) -> None:
    change(table, "\n3,4.5,", "\n3,,")
    change(table, "\n7,24.5,blue", "\n7,24.5,")
    with pytest.raises(DataError) as caught:
        csv(table, target="kind")
    assert "table.csv has 1 missing value in column 'height', the first in line 5" in str(caught.value)
    assert 'set data.missing = "drop" to leave out such rows, or data.missing = "mean"' in str(caught.value)

    dropped = csv(table, target="kind", missing="drop")
    assert dropped.train.samples_per_epoch + dropped.val.samples == ROWS - 2
    assert "2 of 40 rows have missing values and are left out" in dropped.notes

    filled = csv(table, target="kind", missing="mean", normalize="none", features=["width", "height"])
    train, val = all_of(filled.train)[0], all_of(filled.val)[0]
    both = torch.cat([train, val])
    assert both.isfinite().all()
    known = train[train[:, 0] != 3]
    assert float(both[both[:, 0] == 3][0, 1]) == pytest.approx(float(known[:, 1].mean()), rel=1e-5)
    assert "1 of 40 rows have missing values, filled with the mean of the training set" in filled.notes
    assert csv(table, target="kind", missing="mean").train.samples_per_epoch == 32


def test_rows_with_a_missing_target_are_never_filled(table: Path) -> None:
    change(table, ",cat,0.0,", ",,0.0,")
    with pytest.raises(DataError, match=r"column 'kind', the first in line 2; set data\.missing = .drop."):
        csv(table, target="kind")
    for missing in ("drop", "mean"):
        data = csv(table, target="kind", missing=missing)
        assert data.train.samples_per_epoch + data.val.samples == ROWS - 1
    assert "1 of 40 rows have no target and are left out" in data.notes


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"target": "kid"}, "data.target: table.csv has no column 'kid', did you mean 'kind'?"),
        (
            {"target": "target"},
            "data.target: table.csv has no column 'target'; available: width, height, colour",
        ),
        ({"target": "kind", "features": ["wide"]}, "data.features: table.csv has no column 'wide'"),
        ({"target": "kind", "features": ["kind"]}, "data.features: 'kind' is also a target; remove it"),
        ({"target": "kind", "features": []}, "data.features: table.csv has no columns other than the target"),
        (
            {"target": "kind", "categorical": ["kind"]},
            "data.categorical: 'kind' is not a feature; add it to data.features",
        ),
        ({}, "data.target: CSV requires this argument"),
        ({"target": 3}, 'target must have column names in quotes, such as "3"'),
        ({"target": []}, "target must name at least one column"),
        ({"target": "kind", "features": "width"}, "features must be a list of column names, not 'width'"),
        ({"target": "kind", "missing": "zero"}, "missing must be error, drop or mean, not 'zero'"),
        ({"target": "kind", "mising": "drop"}, "CSV takes no argument 'mising', did you mean 'missing'?"),
        ({"target": "kind", "task": "regression"}, "column 'kind' of table.csv is not numeric"),
        ({"target": "kind", "task": "regression"}, "its first value is 'cat'); regression needs numbers"),
        ({"target": ["kind", "price"]}, "'cat'); several targets need numbers"),
        ({"target": "width", "features": ["height"]}, "has 40 different values in 40 rows; set data.task"),
        ({"target": "stars", "task": "binary"}, "binary labels must be 0 or 1"),
        ({"target": ["stars", "width"]}, "data.task: each target has 2 whole numbers"),
    ],
)
def test_a_message_about_a_wrong_column_is_one_line(table: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises((DataError, ComponentError)) as caught:
        csv(table, **keys)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows"),
        ("x,y\n", "has no rows"),
        ("x,y\n1,2,3\n4,5,6,7,8\n", "data.csv has 3 fields in line 2, but 2 columns: correct that line"),
        ("\x00\xff\xfe", "CSV"),
        (
            "name,y\n" + "".join(f"person {n},{n % 2}\n" for n in range(40)),
            "has no column to predict from: 'name' has another text in each row (such as 'person 0')",
        ),
        (
            "x,y\n" + "".join(f"{n}e300,{n % 2}\n" for n in range(40)),
            "column 'x' of data.csv has values that are infinite or too large",
        ),
        ("x,y\n" + "".join(f"{n},7\n" for n in range(40)), "all 32 training samples are of the same class"),
        ("x,y\n1,0\n", "1 sample leave no training samples"),
        ("z,y\n" + "".join(f",{n % 2}\n" for n in range(40)), "to predict from: 'z' has no values"),
    ],
)
def test_a_message_about_an_unfit_file_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(content, encoding="latin-1")
    with pytest.raises((DataError, ComponentError)) as caught:
        csv(path, target="y", missing="mean")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_message_about_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.root: there is no file"):
        csv(tmp_path / "nowhere.csv", target="y")
    with pytest.raises(DataError, match=r"data\.root: CSV requires this key: set it to the file"):
        load("CSV", target="y")


def test_after_a_split_a_row_is_still_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"{row * row + 0.5},{row % 2}\n" for row in range(ROWS)))
    config = DataConfig.model_validate(
        {"name": "CSV", "root": str(path), "target": "y", "normalize": "none", "val_split": 0.3}
    )
    splits = open_data(config, TrainingConfig(), lambda phase: None, UserCode()).splits
    for dataset in splits.by_name.values():
        for index in range(len(dataset)):
            row = round(float(dataset.input(index) - 0.5) ** 0.5)
            assert dataset.describe(index) == f"line {row + 2} of t.csv"


@pytest.mark.parametrize("labels", [("1.1", "1.10", "2.5"), ("0123", "123", "5")])
def test_labels_that_are_the_same_number_are_told(tmp_path: Path, labels: tuple[str, ...]) -> None:
    lines = ["x;y", *(f"{n * n};{labels[n % 3]}" for n in range(30))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    data = load("CSV", root=str(tmp_path / "t.csv"), target="y", task="multiclass")
    one, other = sorted(labels[:2])
    assert any(f"column 'y' has '{one}' and '{other}', which are one class here" in n for n in data.notes)
    (tmp_path / "t.csv").write_text("\n".join(lines).replace("10", "1").replace("0123", "123"))
    data = load("CSV", root=str(tmp_path / "t.csv"), target="y", task="multiclass")
    assert not any("one class" in n for n in data.notes)


def test_classes_that_look_alike_are_told(tmp_path: Path) -> None:
    lines = ["x;y", *(f"{n * n};{('Yes', 'yes', 'no')[n % 3]}" for n in range(30))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    keys: dict[str, Any] = {"root": str(tmp_path / "t.csv"), "target": "y"}
    note = "the classes 'Yes', 'yes' differ only in case, blanks or invisible characters"
    assert any(note in each for each in load("CSV", **keys).notes)
    (tmp_path / "t.csv").write_text("\n".join(lines).replace("Yes", "Y").replace("yes", "y"))
    assert not any("differ only" in each for each in load("CSV", **keys).notes)


def test_labels_with_fractions_have_different_names(tmp_path: Path) -> None:
    lines = ["x;y", *(f"{n * n};{(100000.25, 100000.5)[n % 2]}" for n in range(30))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    data = load("CSV", root=str(tmp_path / "t.csv"), target="y", task="multiclass")
    assert data.spec.class_names == ["100000.25", "100000.5"]
