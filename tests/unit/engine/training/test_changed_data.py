"""A run whose data has changed: classes and columns are found by name, and nothing else passes unnoticed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from tests.support.data_files import user_folders, write_images, write_texts
from tests.support.sessions import MakeSession, Session, parts_for
from torchconsole.engine.analysis.checkpoint_reports import evaluate_checkpoint
from torchconsole.engine.analysis.exports import export
from torchconsole.engine.components.data.data_record import DataRecord
from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.same_data import check_resumable, match_classes
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.model_reports import EvaluationReport
from torchconsole.engine.run.names import LAST
from torchconsole.engine.training.checkpoint import read_data_record

HEADER = "c;x;y"
ROWS = [f"{'abc'[n % 3]};{n % 7};{('ja', 'nein')[n % 3 == 0]}" for n in range(60)]

Change = Callable[[list[str]], list[str]]


class Trained:
    """A run of one epoch on a file or folder that can be changed afterwards."""

    def __init__(self, run: Session) -> None:
        run.trainer.run()
        self.preset, self.checkpoint = run.setup.preset, run.checkpoints / LAST

    def evaluate(self) -> EvaluationReport:
        return evaluate_checkpoint(self.checkpoint, "val", "auto", "cpu")

    def resume(self) -> list[str]:
        """Load the data as a resume does, and return the notes on what has changed."""
        record = read_data_record(self.checkpoint)
        assert record is not None
        return check_resumable(
            record, parts_for(self.preset, from_checkpoint=True, record=record).data.record
        )

    def refusal(self) -> str:
        """The message with which both an evaluation and a resume refuse the data."""
        with pytest.raises(DataError) as evaluating:
            self.evaluate()
        with pytest.raises(DataError) as resuming:
            self.resume()
        start = "data: the samples have changed since the run started"
        if not str(evaluating.value).startswith(start):
            assert str(resuming.value) == str(evaluating.value)
        return str(resuming.value)


@pytest.fixture
def train(session: MakeSession, tmp_path: Path) -> Callable[..., Trained]:
    """Train one epoch of a preset on `root`."""

    def make(preset: str, root: Path, *overrides: str) -> Trained:
        file = tmp_path / "preset.toml"
        keys = [f"data.root={root}", "training.epochs=1", "data.batch_size=8", *overrides]
        write_preset(load_preset(preset, keys), file)
        return Trained(session(preset=str(file)))

    return make


def write_table(file: Path, rows: list[str], header: str = HEADER) -> None:
    file.write_text("\n".join([header, *rows, ""]), encoding="utf-8")


@pytest.fixture
def table(train: Callable[..., Trained], tmp_path: Path) -> Trained:
    """A run on the columns c (categories), x (numbers) and the target y, in `t.csv`."""
    write_table(tmp_path / "t.csv", ROWS)
    return train("csv-classification", tmp_path / "t.csv", "data.target=y")


def test_unchanged_data_is_evaluated_and_resumed_without_a_word(table: Trained) -> None:
    assert table.evaluate().changes == table.resume() == []


def test_columns_are_found_by_their_names(table: Trained, tmp_path: Path) -> None:
    before = table.evaluate()
    swapped = [";".join([x, "new", y, c]) for c, x, y in (row.split(";") for row in ROWS)]
    write_table(tmp_path / "t.csv", swapped, "x;extra;y;c")
    assert table.evaluate() == before
    assert table.resume() == []


def test_an_export_tells_the_columns_and_their_categories(table: Trained, tmp_path: Path) -> None:
    export(table.checkpoint, tmp_path / "a.safetensors", "safetensors", "auto")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        described = json.loads(file.metadata()["torchconsole.data"])
    assert described["features"] == [
        {"name": "c", "kind": "categorical", "categories": ["a", "b", "c"], "unseen": []},
        {"name": "x", "kind": "numeric", "categories": [], "unseen": []},
    ]


UNKNOWN: dict[str, Change] = {
    "'c' has 'zz' (the first in line 2)": lambda rows: [row.replace("a;", "zz;") for row in rows],
    "not trained on 'Nein', did you mean": lambda rows: [row.replace("nein", "Nein") for row in rows],
    "'ja' is missing": lambda rows: [row.replace("ja", "nein") for row in rows],
    "not trained on 'vielleicht'": lambda rows: [*rows[:-1], "c;3;vielleicht"],
    "column 'x' had numbers, but has 'drei' now": lambda rows: [*rows[:-1], "c;drei;ja"],
    "the dataset has 61 samples now, and had 60": lambda rows: [*rows, "a;1;ja"],
    "the dataset has 59 samples now, and had 60": lambda rows: rows[:-1],
    "other targets or files, or in another order": sorted,
}


def test_rows_that_the_run_does_not_know_are_refused(table: Trained, tmp_path: Path) -> None:
    for expected, change in UNKNOWN.items():
        write_table(tmp_path / "t.csv", change(ROWS))
        message = table.refusal()
        assert expected in message
        assert "torchconsole train" in message


def test_rows_of_one_class_in_another_order_are_refused(
    train: Callable[..., Trained], tmp_path: Path
) -> None:
    """The split would be drawn anew, although the targets are the same."""
    rows = sorted(f"{n % 3};{n * 7 % 60};{('ja', 'nein')[n % 2]}" for n in range(60))
    by_class = sorted(rows, key=lambda row: row[-2:])
    write_table(tmp_path / "t.csv", by_class)
    run = train("csv-classification", tmp_path / "t.csv", "data.target=y")
    write_table(tmp_path / "t.csv", [*by_class[29::-1], *by_class[30:]])
    assert "other targets or files, or in another order" in run.refusal()


def test_texts_in_another_order_are_refused(train: Callable[..., Trained], tmp_path: Path) -> None:
    root = tmp_path / "texts"
    write_texts(root, {"a": [f"word {n}" for n in range(8)], "b": [f"term {n}" for n in range(8)]})
    run = train("text-classification", root)
    first = min((root / "a").iterdir())
    first.rename(root / "a" / "zzz.txt")
    assert "other targets or files, or in another order" in run.refusal()


def test_all_columns_that_do_not_fit_are_named_at_once(table: Trained, tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", [row.replace("a;", "zz;") for row in ROWS], "c;X;Y")
    message = table.refusal()
    assert "no column 'y', did you mean 'Y'?; it has no column 'x', did you mean 'X'?" in message
    assert "column 'c' has 'zz'" in message


def test_changed_numbers_are_told(table: Trained, tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", [row.replace(";5;", ";5000;") for row in ROWS])
    told = ["the contents of the dataset have changed since the run started"]
    assert table.evaluate().changes == table.resume() == told


def test_classes_without_names_stay_numbers_through_resumes(
    train: Callable[..., Trained], tmp_path: Path
) -> None:
    file = tmp_path / "data.npz"
    targets = np.arange(40) % 3
    np.savez(file, inputs=np.random.default_rng(0).normal(size=(40, 4)), targets=targets)
    run = train("digits-mlp", file, "data.name=NPZ")
    record = read_data_record(run.checkpoint)
    assert record is not None
    assert not record.named_classes
    resumed = parts_for(run.preset, from_checkpoint=True, record=record).data.record
    assert (resumed, check_resumable(record, resumed)) == (record, [])
    np.savez(file, inputs=np.zeros((40, 4)), targets=targets + (targets == 2))
    with pytest.raises(DataError, match="label 3, but the 3 classes are 0 to 2"):
        run.resume()


def test_classes_in_another_order_keep_their_labels() -> None:
    spec = {"task": "multiclass", "input_shape": [1], "classes": ["cat", "dog", "eel"]}
    samples = InMemoryDataset(torch.zeros(3, 1), torch.tensor([0, 1, 2]))
    found = Splits(samples, class_names=["eel", "cat", "dog"])
    matched = match_classes(found, DataRecord.model_validate(spec))
    assert matched.train.targets.tolist() == [2, 0, 1]
    assert matched.class_names == spec["classes"]
    columns = replace(found, train=samples.with_targets(torch.eye(3)))
    matched = match_classes(columns, DataRecord.model_validate(spec | {"task": "multilabel"}))
    assert matched.train.targets.argmax(1).tolist() == [2, 0, 1]


def test_user_code_may_draw_its_samples_anew(session: MakeSession, tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    lines = (
        "import torch",
        "from torch.utils.data import TensorDataset",
        "def drawn(count):",
        "    torch.seed()",
        "    return TensorDataset(torch.randn(count, 4), torch.arange(count) % 3)",
    )
    code.write_text("\n".join(lines), encoding="utf-8")
    with user_folders():
        trust(code)
        data = f"data={{name='{code}:drawn', count=40, batch_size=8}}"
        run = Trained(session(data, "training.epochs=1"))
        told = ["the contents of the dataset have changed since the run started"]
        assert run.evaluate().changes == run.resume() == told
        fewer = run.preset.data.model_copy(update={"count": 39})
        run.preset = run.preset.model_copy(update={"data": fewer})
        with pytest.raises(DataError, match="the dataset has 39 samples now, and had 40"):
            run.resume()


def test_a_renamed_class_folder_is_refused(train: Callable[..., Trained], tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write_images(root, {"airplane": 6, "cat": 6, "dog": 6})
    run = train("digits-mlp", root, "data.name=ImageFolder")
    (root / "airplane").rename(root / "zeppelin")
    assert "not trained on 'zeppelin'; 'airplane' is missing" in run.refusal()
    (root / "zeppelin").rename(root / "airplane")
    shutil.copyfile(root / "cat" / "000.png", root / "cat" / "new.png")
    assert "the dataset has 19 samples now, and had 18" in run.refusal()


def test_images_that_changed_under_their_names_are_told(
    train: Callable[..., Trained], tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    write_images(root, {"cat": 6, "dog": 6})
    run = train("digits-mlp", root, "data.name=ImageFolder")
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(root)
    (tmp_path / "copy").rename(root)
    assert run.evaluate().changes == run.resume() == []
    told = ["the contents of the dataset have changed since the run started"]
    for kind in ("png", "bmp"):
        with Image.open(root / "cat" / "000.png") as image:
            turned = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        turned.save(root / "cat" / "000.png", kind)
        assert run.evaluate().changes == run.resume() == told


def test_training_samples_may_be_added_beside_a_validation_set_of_its_own(
    train: Callable[..., Trained], tmp_path: Path
) -> None:
    for part in ("train", "val"):
        write_images(tmp_path / "photos" / part, {"cat": 6, "dog": 6})
    run = train("digits-mlp", tmp_path / "photos", "data.name=ImageFolder")
    shutil.copyfile(tmp_path / "photos/train/cat/000.png", tmp_path / "photos/train/cat/new.png")
    assert run.evaluate().changes == ["the training set has 13 samples now, and had 12"]
    with pytest.raises(DataError, match="the training set has 13 samples now, and had 12"):
        run.resume()
