"""The first training batch of a preset, as it is shown in the menu."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits

from torchconsole.engine.analysis.samples import MOST_SAMPLES, sample_report
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.protocol.reports import TrainingSamples


def shown(folder: Path, preset: str, *overrides: str) -> TrainingSamples:
    write_preset(load_preset(preset, list(overrides)), folder / "preset.toml")
    return sample_report(str(folder / "preset.toml"))


def pictures(found: TrainingSamples) -> list[np.ndarray]:
    return [
        np.frombuffer(base64.b64decode(each.pixels), np.uint8).reshape(found.picture)
        for each in found.samples
    ]


def test_pictures_are_those_of_the_data_after_the_transforms(tmp_path: Path) -> None:
    flip = "data.transforms.train=[{name='RandomHorizontalFlip', p=1.0}]"
    found = shown(tmp_path, "digits-cnn", flip)
    assert (found.kind, found.shape, found.picture, found.is_scaled) == (
        "images",
        [1, 8, 8],
        [8, 8, 3],
        False,
    )
    assert len(found.samples) == MOST_SAMPLES
    digits = load_digits()
    for sample, picture in zip(found.samples, pictures(found), strict=True):
        index = int(sample.place.removeprefix("sample "))
        assert sample.label == str(digits.target[index])
        expected = digits.images[index][:, ::-1]
        assert np.corrcoef(picture[..., 0].ravel(), expected.ravel())[0, 1] > 0.999
        assert (picture[..., 0] == picture[..., 2]).all()


def test_large_pictures_are_reduced_and_mixed_ones_have_shares(tmp_path: Path) -> None:
    for name, color in (("red", (255, 0, 0)), ("sky", (0, 128, 255))):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (200, 100), color).save(tmp_path / "images" / name / f"{number}.png")
    root = f"data.root={tmp_path / 'images'}"
    found = shown(tmp_path, "imagefolder-finetune", root, "data.transforms={}", "data.batch_size=4")
    assert (found.picture, found.shape, len(found.samples)) == ([32, 64, 3], [3, 100, 200], 4)
    colors = {"red": [255, 0, 0], "sky": [0, 128, 255]}
    for sample, picture in zip(found.samples, pictures(found), strict=True):
        assert Path(sample.place).parent.name == sample.label
        assert (picture == colors[sample.label]).all()
    mixed = shown(
        tmp_path, "imagefolder-finetune", root, "data.transforms={batch=[{name='MixUp', alpha=9.0}]}"
    )
    labels = [sample.label for sample in mixed.samples]
    assert any(label.count("0.") == 2 for label in labels)


def test_transforms_that_normalize_are_shown_on_a_scale(tmp_path: Path) -> None:
    normalize = "data.transforms.train=[{name='Normalize', mean=[0.5], std=[0.1]}]"
    found = shown(tmp_path, "digits-cnn", normalize)
    assert found.is_scaled
    assert {int(each.max()) for each in pictures(found)} | {0} <= set(range(256))


def test_rows_are_in_their_own_unit(tmp_path: Path) -> None:
    lines = ["size,color,price", *(f"{n},{'red' if n % 2 else 'blue'},{n}.5" for n in range(100, 140))]
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    found = shown(tmp_path, "csv-regression", f"data.root={tmp_path / 'a.csv'}", "data.target=price")
    assert (found.kind, found.columns) == ("rows", ["size", "color=blue", "color=red"])
    for sample in found.samples:
        size = sample.values[0] or 0
        assert sample.label == f"{size + 0.5:.6g}"
        assert sample.values[1:] == ([0.0, 1.0] if size % 2 else [1.0, 0.0])
        assert sample.place == f"line {size - 98:.0f} of a.csv"


def test_rows_without_names(tmp_path: Path) -> None:
    found = shown(tmp_path, "diabetes-regression")
    data = load_diabetes()
    assert found.columns == []
    for sample in found.samples:
        index = int(sample.place.removeprefix("sample "))
        assert sample.values == pytest.approx(data.data[index].tolist())
        assert float(sample.label) == data.target[index]


def test_texts_are_shown_as_the_vocabulary_has_them(tmp_path: Path) -> None:
    lines = ["words,label", *(f'"Fine day number{n}",{"good" if n % 2 else "bad"}' for n in range(40))]
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    found = shown(
        tmp_path,
        "text-classification",
        f"data={{name='CSV', root='{tmp_path / 'a.csv'}', text='words', target='label', min_frequency=2}}",
    )
    assert found.kind == "texts"
    assert {sample.text for sample in found.samples} == {"fine day ?"}
    assert {sample.label for sample in found.samples} == {"good", "bad"}
