"""Which paths the commands write to: nothing but files, and folders of exports, is ever replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.named_files import EXPORTED_GRAPH, output_path


def test_a_file_is_replaced_with_force_only(tmp_path: Path) -> None:
    assert output_path(tmp_path / "new.csv", force=False) == tmp_path / "new.csv"
    (tmp_path / "old.csv").touch()
    with pytest.raises(TorchconsoleError, match="already exists; pass --force"):
        output_path(tmp_path / "old.csv", force=False)
    assert output_path(tmp_path / "old.csv", force=True) == tmp_path / "old.csv"
    with pytest.raises(TorchconsoleError, match="is not a folder; create it"):
        output_path(tmp_path / "gone" / "a.csv", force=True)


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(TorchconsoleError, match="is not a file; choose another name"):
            output_path(path, force=True)


def test_an_export_goes_into_an_empty_folder_or_that_of_an_export(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    assert output_path(folder, force=True, is_folder=True) == folder
    (folder / "README.md").touch()
    with pytest.raises(TorchconsoleError, match="is not a folder that torchconsole has exported"):
        output_path(folder, force=True, is_folder=True)
    (folder / EXPORTED_GRAPH).touch()
    assert output_path(folder, force=True, is_folder=True) == folder
