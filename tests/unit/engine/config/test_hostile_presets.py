"""Whatever is in a folder of presets, all other presets are listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.hostile import HOSTILE, as_stranger, replace_by
from torchconsole.engine.config import preset_files
from torchconsole.engine.config.data_location import find_data
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.preset_index import PresetEntry, list_presets
from torchconsole.engine.errors import PresetError
from torchconsole.tui.cli.presets import presets
from torchconsole.tui.screens.menu_reading import presets_and_data

GOOD = 'title = "Good"\nextends = "digits-mlp"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of presets in the working folder, with one valid preset."""
    monkeypatch.chdir(tmp_path)
    (folder := tmp_path / "presets").mkdir()
    (folder / "good.toml").write_text(GOOD)
    return folder


def listed() -> dict[str, PresetEntry]:
    """List the presets as the menu does, which looks for their data as well."""
    entries, locations = presets_and_data()
    assert entries == list_presets()
    assert locations["good"].state == "here"
    found = {entry.name: entry for entry in entries}
    assert found["good"].title == "Good"
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_preset_is_one_line(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace_by(name, folder / "bad.toml")
    bad = listed()["bad"]
    if name not in ("empty", "a list"):  # which are valid TOML
        assert bad.problem
        assert bad.title == "cannot be read: bad.toml"
    with pytest.raises(PresetError):
        load_preset("bad")
    assert presets(as_json=True) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found["good"]["data"] == "here"
    assert presets() == 0
    assert "\nbad " in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        "title = 7\ndescription = [1]\nneeds = {}\ngroup = 1.5\n[data]\nname = []\n",
        'data = "x"\n',
        '[data]\nname = "CSV"\nroot = "/root/\\u0000x"\n',
        '[data]\nname = "CSV"\nroot = "~nobody-at-all/x"\n',
        '[data]\nname = "MNIST"\nroot = "\\u0000"\n',
        '[model]\nname = "\\u0000.py:Net"\n',
        f'[model]\nname = "{"x" * 5000}.py:Net"\n',
        f'title = "{"x" * 100_000}\\u001b[31m\\n"\n',
        "a = " + "[" * 60 + "]" * 60 + "\n",
        "[" + ".".join("a" * 60) + "]\n",
        ".".join(f'"{number}"' for number in range(60)) + " = 1\n",
        'extends = "/dev/zero"\n',
        'extends = "bad"\n',
        'extends = "nobody"\n',
        "extends = 7\n",
        "a = 1e999\nb = nan\nc = " + "9" * 4000 + "\n",
    ],
)
def test_a_preset_of_strange_values_is_listed(content: str, folder: Path) -> None:
    (folder / "bad.toml").write_text(content)
    bad = listed()["bad"]
    assert len(bad.title) < 5000


def test_strange_file_names_are_listed(folder: Path) -> None:
    for name in ("esc\x1b[31m", "line\nbreak", "bytes\udcff"):
        (folder / f"{name}.toml").write_text(GOOD)
    assert {"esc\x1b[31m", "line\nbreak", "bytes\udcff"} <= listed().keys()
    assert presets() == 0


def test_a_chain_of_presets_has_an_end(folder: Path) -> None:
    for number in range(2000):
        (folder / f"p{number}.toml").write_text(f'extends = "p{number + 1}.toml"\n')
    with pytest.raises(PresetError, match="extends a chain of more than 20 presets"):
        load_preset("p0")


def test_a_text_with_many_dots_is_no_long_key() -> None:
    text = 'title = "' + "and so on . . . " * 50 + '"\n' + "x = [" + "0.5, " * 1000 + "]\n"
    assert not preset_files._LONG_KEY.search(text)
    assert not preset_files._LONG_KEY.search("x" * 1_000_000), "in linear time"
    assert preset_files._LONG_KEY.search("a . " * 50 + "b = 1")


def test_a_closed_preset_is_one_line_and_a_closed_folder_none(folder: Path, tmp_path: Path) -> None:
    for parent in folder.parents:
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(0o755)
    (folder / "closed.toml").write_text(GOOD)
    (folder / "closed.toml").chmod(0)
    (tmp_path / "private").mkdir()
    (folder / "data.toml").write_text(f'[data]\nname = "CSV"\nroot = "{tmp_path}/private/x.csv"\n')
    (tmp_path / "private").chmod(0)
    with as_stranger():
        found = listed()
        assert "Permission denied" in found["closed"].problem
        assert find_data(folder / "data.toml").state == "unknown"
    (tmp_path / "private").chmod(0o755)
    folder.chmod(0)
    with as_stranger():
        assert "digits-mlp" in {entry.name for entry in list_presets()}
    folder.chmod(0o755)
