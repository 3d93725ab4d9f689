"""Folders of the user that cannot be written, read or found: a warning with the consequence, never an error.

Each folder is inside a file here, which binds root too; tests/faults/test_user_folders.py has real mounts.
"""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest
import torch

from tests.support.runs import make_folder
from torchconsole.engine.client import catalogue_cache
from torchconsole.engine.client.catalogue_cache import load_catalogue
from torchconsole.engine.components.data.measuring import MeanStd, Measured, load_mean_std, store_mean_std
from torchconsole.engine.components.models.weights import download_weights
from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.data_location import locate_data
from torchconsole.engine.config.preset_files import preset_files
from torchconsole.engine.run.registry import list_runs, register

Caplog = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def bad_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of each of the user's folders."""
    file = tmp_path / "file"
    file.touch()
    for kind in ("STATE", "CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(file))
    monkeypatch.setenv("TORCH_HOME", str(file / "torch"))
    return file


def test_a_run_without_a_registry_starts(tmp_path: Path, bad_folders: Path, caplog: Caplog) -> None:
    folder = make_folder(tmp_path / "runs", status="finished")
    register(folder)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{bad_folders}/torchconsole/runs: cannot be written (Not a directory): "
        f"`torchconsole runs` finds {folder.name} only with --runs-dir {tmp_path}/runs"
    )
    assert list_runs() == []
    assert [run.name for run in list_runs(tmp_path / "runs")] == [folder.name]


def test_a_catalogue_that_cannot_be_cached_is_used_and_made_once(
    catalogue: Catalogue, caplog: Caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = catalogue.model_dump_json().encode()
    made: list[list[str]] = []

    def make(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        made.append(command)
        return subprocess.CompletedProcess(command, 0, content, b"")

    monkeypatch.setattr(catalogue_cache, "_not_cached", {})
    monkeypatch.setattr(catalogue_cache.subprocess, "run", make)
    assert load_catalogue() == load_catalogue() == catalogue
    assert len(made) == 1
    (record,) = caplog.records
    assert "each command reads again what torch offers" in record.getMessage()


def test_a_catalogue_that_cannot_be_read_is_made_again(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Caplog
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = catalogue.model_dump_json().encode()
    done = subprocess.CompletedProcess([], 0, content, b"")
    monkeypatch.setattr(catalogue_cache.subprocess, "run", lambda *_, **__: done)
    load_catalogue()
    (file,) = (tmp_path / "torchconsole").iterdir()
    file.unlink()
    file.mkdir()
    monkeypatch.setattr(catalogue_cache, "_not_cached", {})
    assert load_catalogue() == catalogue
    assert "cannot be written" in caplog.text


def test_mean_and_std_that_cannot_be_cached_are_a_note() -> None:
    measured = Measured(MeanStd(torch.ones(3), torch.ones(3)), 10)
    note = store_mean_std("key", measured)
    assert note is not None
    assert note.endswith("mean and standard deviation are measured again at each start")
    assert load_mean_std("key") is None


def test_weights_that_cannot_be_cached_are_downloaded_for_this_process(
    monkeypatch: pytest.MonkeyPatch, caplog: Caplog
) -> None:
    def download(url: str, path: str, *_: object, **__: object) -> None:
        Path(path).write_text(url)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    file = download_weights("https://example.org/net-0123abcd.pth", lambda _: None)
    assert file.read_text() == "https://example.org/net-0123abcd.pth"
    assert "net-0123abcd.pth is downloaded again at each start" in caplog.text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_cache_that_is_full_is_like_one_that_cannot_be_written(
    number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Caplog
) -> None:
    def download(_: str, path: str, *__: object, **___: object) -> None:
        if Path(path).is_relative_to(tmp_path):
            raise OSError(number, "no")
        Path(path).touch()

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert download_weights("https://example.org/net.pth", lambda _: None).exists()
    assert "cannot be written (no)" in caplog.text


def test_presets_and_data_are_looked_for_without_an_error() -> None:
    assert "digits-mlp" in [file.stem for file in preset_files()]
    assert locate_data({"name": "MNIST"}).state == "missing"
