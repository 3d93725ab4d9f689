"""The catalogue: names and arguments are checked without torch, and all errors are reported at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from torchconsole.engine.client.catalogue_cache import load_catalogue
from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.preset_index import list_presets
from torchconsole.engine.errors import PresetError

INVALID = """
title = "every kind of error"
[data]
name = "digits"
batch_size = "fast"
val_splti = 0.1
transforms.train = [{ name = "RandomCorp", size = 8 }]
[model]
name = "MLP"
hiden = [3]
[optimizer]
nam = "AdmaW"
lr = "fast"
[loss]
name = "CrossEntropyLoss"
delta = 1.0
[[schedule]]
name = "StepLR"
[[metrics]]
name = "Acuracy"
"""

EXPECTED = [
    "data.batch_size: must be a valid integer, got 'fast'",
    "optimizer.lr: must be a valid number, got 'fast'",
    "data.val_splti: digits takes no argument 'val_splti', did you mean 'val_split'?",
    "data.transforms.train.0.name: unknown transform 'RandomCorp', did you mean 'RandomCrop'?",
    "model.hiden: MLP takes no argument 'hiden', did you mean 'hidden'?",
    "loss.delta: CrossEntropyLoss takes no argument 'delta'",
    "optimizer.nam: AdamW takes no argument 'nam', did you mean 'name'?",
    "schedule.0.step_size: StepLR requires this argument",
    "metrics.0.name: unknown metric 'Acuracy', did you mean 'Accuracy'?",
]


def test_all_errors_are_reported_at_once(catalogue: Catalogue, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(INVALID)
    with pytest.raises(PresetError) as caught:
        load_preset(str(path), catalogue=catalogue)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    for expected in EXPECTED:
        assert any(expected in line for line in lines), expected
    assert len(lines) == len(EXPECTED)


@pytest.mark.parametrize("name", [entry.name for entry in list_presets()])
def test_every_built_in_preset_passes(catalogue: Catalogue, name: str) -> None:
    assert load_preset(name, catalogue=catalogue).title


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.name=LBFGS", "LBFGS cannot be used: it evaluates the loss several times"),
        ("optimizer.name=os.system", "unknown optimizer 'os.system'"),
        ("schedule.0.name=LambdaLR", "LambdaLR cannot be used: it needs a function"),
        ("data.name=CIFAR11", "did you mean 'CIFAR10'?"),
        (
            "model.hiden=",
            "--set model.hiden=: model.hiden: MLP takes no argument 'hiden', did you mean 'hidden'?",
        ),
        ("model.name=resnet81", "did you mean 'resnet18'?"),
    ],
)
def test_an_unsupported_component_is_rejected(catalogue: Catalogue, override: str, message: str) -> None:
    with pytest.raises(PresetError) as caught:
        load_preset("digits-mlp", [override], catalogue)
    assert message in str(caught.value)


def test_a_dataset_folder_takes_extensions_and_a_loader(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "own.py").touch()
    overrides = ["data.name=DatasetFolder", 'data.extensions=[".txt"]']
    loader = f'data.loader={{ name = "{tmp_path}/own.py:load" }}'
    assert load_preset("digits-mlp", [*overrides, loader], catalogue).data.arguments["extensions"] == [".txt"]
    with pytest.raises(PresetError, match="takes no argument 'extension', did you mean 'extensions'"):
        load_preset("digits-mlp", ["data.name=DatasetFolder", "data.extension=x"], catalogue)


def test_arguments_of_user_code_are_not_checked(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("raise SystemExit")
    user_code = f"model.name={tmp_path}/net.py:Net"
    assert load_preset("digits-mlp", [user_code, "model.hidden=3"], catalogue).model.name


def test_the_catalogue_is_read_from_the_cache_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue, cache: Path
) -> None:
    shutil.copytree(cache, tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    [file] = tmp_path.rglob("catalogue-*.json")
    file.write_bytes(catalogue.model_copy(update={"versions": {"mark": "1"}}).model_dump_json().encode())
    assert load_catalogue().versions == {"mark": "1"}
    file.write_text("{")
    assert load_catalogue().kinds == catalogue.kinds


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.name=os:system", "optimizer.name: 'os' is part of Python's standard library and cannot"),
        ("model.name=nothing.py:Net", "model.name: file 'nothing.py' does not exist"),
        ("loss.name=a.py:x y", "loss.name: 'a.py:x y' is not valid; write path/to/file.py:Thing"),
        ("model.name=mlp", "model.name: unknown model 'mlp', did you mean 'MLP'?"),
    ],
)
def test_an_invalid_name_is_reported_together_with_other_errors(
    catalogue: Catalogue, override: str, expected: str
) -> None:
    with pytest.raises(PresetError) as caught:
        load_preset("digits-mlp", ["data.batch_size=0", override], catalogue)
    first, *others = str(caught.value).splitlines()
    assert "data.batch_size" in first
    assert any(line.startswith(f"--set {override}: {expected}") for line in others)
