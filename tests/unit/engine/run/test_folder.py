"""A run's folder: a safe name, also from any preset name, and modules that load quickly."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder

LIGHT = [
    "files",
    "client",
    "run.folder",
    "run.liveness",
    "run.registry",
    "run.sockets",
    "run.record",
]


@pytest.mark.parametrize("module", LIGHT)
def test_listing_runs_loads_no_heavy_module(module: str) -> None:
    program = (
        f"import torchconsole.engine.{module}, sys;"
        "print({'pydantic', 'numpy', 'torch', 'typer', 'psutil'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_new_folder_is_named_after_preset_and_time(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "runs", "digits-cnn")
    assert folder.path.parent == tmp_path / "runs"
    assert folder.path.is_dir()
    time.strptime(folder.name, "digits-cnn-%Y%m%d-%H%M%S")


def test_folders_made_in_the_same_second_differ(tmp_path: Path) -> None:
    names = {RunFolder.create(tmp_path, "a").name for _ in range(5)}
    assert len(names) == 5


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/abs", "..", ".hidden", "a/b", "x\x1b[31m", "é[b]", "-x", ""]
)
def test_no_preset_name_escapes_the_runs_folder(tmp_path: Path, name: str) -> None:
    folder = RunFolder.create(tmp_path, name)
    assert folder.path.resolve().parent == tmp_path.resolve()
    assert folder.name[0].isalnum()
    assert set(folder.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_a_runs_folder_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for runs_dir in (tmp_path / "file", tmp_path / "link", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="cannot create a run folder here"):
            RunFolder.create(runs_dir, "a")


def test_a_folder_with_a_name_of_its_own_is_new(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "runs", "digits-cnn", "baseline")
    assert folder.path == tmp_path / "runs" / "baseline"
    assert folder.checkpoints.is_dir()
    with pytest.raises(RunError, match="baseline exists already in "):
        RunFolder.create(tmp_path / "runs", "digits-cnn", "baseline")
