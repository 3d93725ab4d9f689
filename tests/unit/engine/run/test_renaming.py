"""Renaming a run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.runs import STARTED, Served, make_folder, running, wait_until
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock
from torchconsole.engine.run.registry import find_run, list_runs, moved_to, register
from torchconsole.engine.run.renaming import rename_run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TORCHCONSOLE_RUNS", str(tmp_path / "elsewhere"))


def test_an_ended_run_is_found_under_its_new_name_and_its_old_folder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "runs", status="finished")
    register(folder)
    renamed = rename_run(folder, "baseline")
    assert renamed.path == tmp_path / "runs" / "baseline"
    assert [run.name for run in list_runs()] == ["baseline"]
    assert find_run("baseline") == renamed
    assert moved_to(folder) == renamed
    assert not folder.path.exists()
    assert rename_run(renamed, "baseline") == renamed


def test_the_worker_of_a_live_run_follows(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "runs", **running())
    with Served(folder) as served:
        served.event_queue.emit(STARTED)
        wait_until(lambda: folder.load_record().status == "running")
        renamed = rename_run(folder, "renamed")
        served.event_queue.emit(STARTED)
        wait_until(lambda: renamed.run_file.exists() and renamed.load_record().is_live)
        wait_until(lambda: moved_to(folder) == renamed)
        served.folder = renamed
        assert asyncio.run(served.is_serving())
    assert not folder.path.exists()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/x", ".hidden", "-x", "a b", "a\x1b[2J", "a\n", "x" * 101, "日" * 90,
     "x.deleting", "RUN@best", "taken", "other"],
)  # fmt: skip
def test_a_name_that_a_run_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    folder = make_folder(tmp_path, status="finished")
    (tmp_path / "taken").mkdir()
    (tmp_path / "other").symlink_to("nowhere")
    with pytest.raises(RunError):
        rename_run(folder, name)
    assert folder.load_record().name == folder.name


@pytest.mark.parametrize("name", ["a", "0", "résumé", "x.y_z-1+2=3", "x" * 100])
def test_a_name_may_have_letters_digits_and_some_signs(tmp_path: Path, name: str) -> None:
    assert rename_run(make_folder(tmp_path, status="finished"), name).load_record().name == name


def test_a_run_that_is_starting_locked_linked_or_gone_is_not_renamed(tmp_path: Path) -> None:
    starting = make_folder(tmp_path, status="starting")
    with pytest.raises(RunError, match="starting"):
        rename_run(starting, "x")
    locked = make_folder(tmp_path, status="finished")
    lock = WorkerLock(locked.lock_file)
    lock.acquire()
    with pytest.raises(RunError, match=r"process \d+ still uses it"):
        rename_run(locked, "x")
    lock.release()
    link = RunFolder(tmp_path / "link")
    link.path.symlink_to(locked.path)
    with pytest.raises(RunError, match="is a link"):
        rename_run(link, "x")
    with pytest.raises(RunError):
        rename_run(RunFolder(tmp_path / "gone"), "x")
    assert rename_run(locked, "x").path.is_dir()
