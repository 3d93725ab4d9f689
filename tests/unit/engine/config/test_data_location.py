"""Whether data is on this machine, found out without reading it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from torchconsole.engine.components.data.sources import arrays, folders, tables, vision_sets
from torchconsole.engine.config import data_location
from torchconsole.engine.config.data_location import find_data, look_for
from torchconsole.engine.config.preset_index import list_presets


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of the user's."""
    monkeypatch.delenv("TORCHCONSOLE_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "torchconsole"


def test_it_knows_the_sources_that_there_are() -> None:
    assert set(data_location.BUNDLED) == arrays.BUNDLED.keys()
    assert set(data_location.FOLDERS) == folders.SOURCES.keys()
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
def test_without_any_files(section: dict[str, Any], state: str) -> None:
    assert look_for(section).state == state


def test_a_torchvision_set_is_found_where_torchvision_leaves_it(
    own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root in (own_data, tmp_path / "env", tmp_path / "given"):
        raw = root / "MNIST" / "raw"
        raw.mkdir(parents=True)
        (raw / "train-images-idx3-ubyte").touch()
    assert look_for({"name": "MNIST"}) == data_location.DataPlace("here", own_data)
    monkeypatch.setenv("TORCHCONSOLE_DATA", str(tmp_path / "env"))
    assert look_for({"name": "MNIST"}).path == tmp_path / "env"
    assert look_for({"name": "MNIST", "root": str(tmp_path / "given")}).path == tmp_path / "given"
    assert look_for({"name": "CIFAR10"}).state == "missing"


def test_a_folder_is_no_table_and_a_table_no_folder(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.touch()
    assert look_for({"name": "CSV", "root": str(table)}).state == "here"
    assert look_for({"name": "CSV", "root": str(tmp_path)}).state == "missing"
    assert look_for({"name": "ImageFolder", "root": str(table)}).state == "missing"
    assert look_for({"name": "ImageFolder", "root": str(tmp_path)}).state == "here"


@pytest.mark.parametrize("entry", list_presets(), ids=lambda entry: entry.name)
def test_every_preset_that_ships_has_a_group_its_needs_and_data_that_can_be_told(entry: Any) -> None:
    assert entry.group
    assert entry.needs
    assert find_data(entry.path).state != "unknown"
