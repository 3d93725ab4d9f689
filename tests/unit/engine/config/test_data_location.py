"""Whether data is on this machine, found out without reading it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from torchconsole.engine.components.data.sources import arrays, folders, tables, text_files, vision_sets
from torchconsole.engine.config import data_location
from torchconsole.engine.config.data_location import (
    absolute_places,
    find_data,
    locate_data,
    with_absolute_files,
)
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.preset_index import list_presets


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of the user."""
    monkeypatch.delenv("TORCHCONSOLE_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "torchconsole"


def test_every_data_source_is_known() -> None:
    assert set(data_location.BUNDLED) == arrays.BUNDLED.keys()
    assert set(data_location.FOLDERS) == folders.SOURCES.keys() | text_files.SOURCES.keys()
    assert set(data_location.FILES) == tables.SOURCES.keys() | arrays.FILES.keys()
    assert data_location.VISION_SETS.keys() <= vision_sets.find_sets().keys()


@pytest.mark.parametrize(
    ("section", "state"),
    [
        ({"name": "digits"}, "here"),
        ({"name": "MNIST"}, "missing"),
        ({"name": "MNIST", "download": True}, "download"),
        ({"name": "ImageFolder"}, "missing"),
        ({"name": "mine.py:Set"}, "unknown"),
        ({"name": "Places365"}, "unknown"),
        ({"name": 3}, "unknown"),
        ({"name": "CSV", "root": 3}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_state_without_any_files(section: dict[str, Any], state: str) -> None:
    assert locate_data(section).state == state


def test_a_torchvision_dataset_is_found_where_torchvision_stores_it(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root in (data_folder, tmp_path / "env", tmp_path / "given"):
        raw = root / "MNIST" / "raw"
        raw.mkdir(parents=True)
        (raw / "train-images-idx3-ubyte").touch()
    assert locate_data({"name": "MNIST"}) == data_location.DataLocation("here", data_folder)
    monkeypatch.setenv("TORCHCONSOLE_DATA", str(tmp_path / "env"))
    assert locate_data({"name": "MNIST"}).path == tmp_path / "env"
    assert locate_data({"name": "MNIST", "root": str(tmp_path / "given")}).path == tmp_path / "given"
    assert locate_data({"name": "CIFAR10"}).state == "missing"


def test_a_table_must_be_a_file_and_an_image_folder_a_folder(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.touch()
    assert locate_data({"name": "CSV", "root": str(table)}).state == "here"
    assert locate_data({"name": "CSV", "root": str(tmp_path)}).state == "missing"
    assert locate_data({"name": "ImageFolder", "root": str(table)}).state == "missing"
    assert locate_data({"name": "ImageFolder", "root": str(tmp_path)}).state == "here"


@pytest.mark.parametrize("entry", list_presets(), ids=lambda entry: entry.name)
def test_every_built_in_preset_has_a_group_needs_and_locatable_data(entry: Any) -> None:
    assert entry.group
    assert entry.needs
    assert find_data(entry.path).state != "unknown"


def test_what_is_a_word_does_not_become_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders and files of these names may be in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("words", "tokenizer.json", "net.pt"):
        (tmp_path / name).touch()
    (tmp_path / "DEFAULT").mkdir()
    words = {"data": {"root": "", "tokenizer": "words"}, "model": {"weights": "DEFAULT"}}
    assert absolute_places(words) == {}
    files = {"data": {"root": "DEFAULT", "tokenizer": "tokenizer.json"}, "model": {"weights": "net.pt"}}
    assert absolute_places(files) == {
        "data.root": f"{tmp_path}/DEFAULT",
        "data.tokenizer": f"{tmp_path}/tokenizer.json",
        "model.weights": f"{tmp_path}/net.pt",
    }


def test_a_run_finds_its_files_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pt").touch()
    overrides = ["data.root=texts", "data.tokenizer=tokenizer.json", "model.weights=weights.pt"]
    given = load_preset("text-classification", overrides)
    kept = with_absolute_files(given)
    assert kept.data.root == f"{tmp_path}/texts"
    assert kept.data.arguments["tokenizer"] == f"{tmp_path}/tokenizer.json"
    assert kept.model.weights == f"{tmp_path}/weights.pt"
    home = with_absolute_files(load_preset("csv-regression", ["data.root=~/t.csv", "model.weights=DEFAULT"]))
    assert (home.data.root, home.model.weights) == (str(Path.home() / "t.csv"), "DEFAULT")
    assert with_absolute_files(load_preset("digits-mlp")) == load_preset("digits-mlp")
