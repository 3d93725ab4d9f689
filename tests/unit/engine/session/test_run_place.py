"""The folder of a live run may be renamed, removed and put back, or its disk may be away for a while."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runs import FINISHED, STARTED, lines_of, log_steps, make_folder
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock, holds_lock
from torchconsole.engine.run.registry import list_runs, moved_to, register
from torchconsole.engine.session import run_place
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.event_store import EventStore


class Live:
    """The files of a live run; the test plays the training."""

    def __init__(self, folder: RunFolder) -> None:
        self.lock = WorkerLock(folder.lock_file)
        self.lock.acquire()
        self.queue = EventQueue()
        self.store = EventStore(folder, RunState(name=folder.name, folder=str(folder.path)), self.queue)
        self.ended: list[str] = []
        self.published: list[ev.Event] = []
        self.store.subscribe(self.published.append)
        self.store.place.end = self.ended.append
        self.store.place.follow_with(lambda folder: self.lock.follow(folder.lock_file))
        self._steps = 0
        self.queue.emit(STARTED)
        self.log(5)

    def log(self, count: int) -> None:
        """Log some steps, and have them written."""
        for _ in range(count):
            self._steps += 1
            log_steps(self.queue, self._steps, self._steps)
            self.queue.flush()  # without a server it does not wait
            self.store.drain()

    def check_all_is_in(self, folder: RunFolder) -> None:
        """End the run; nothing that it logged may be missing."""
        self.queue.emit(FINISHED)
        self.store.close()
        assert [line["step"] for line in lines_of(folder.metrics_file)] == [*range(1, self._steps + 1)]
        record = folder.load_record()
        assert (record.status, record.name) == ("finished", folder.name)
        assert holds_lock(folder.lock_file)

    @property
    def told(self) -> list[str]:
        """Return what was reported."""
        self.store.drain()
        return [event.message for event in self.published if isinstance(event, ev.LogWritten)]

    def close(self) -> None:
        """End it, in whatever state."""
        self.store.close()
        self.lock.release()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A registered run."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(run_place, "LOOK_SECONDS", 0.0)
    folder = make_folder(tmp_path / "place" / "runs")
    register(folder)
    return folder


@pytest.fixture
def live(folder: RunFolder) -> Iterator[Live]:
    live = Live(folder)
    yield live
    live.close()


def test_a_renamed_folder_is_followed(folder: RunFolder, live: Live) -> None:
    for name in ("best", "best-so-far", folder.name, "zzz"):
        renamed = RunFolder(live.store.place.folder.path.rename(folder.path.with_name(name)))
        live.log(5)
    moves = [event for event in live.published if isinstance(event, ev.FolderMoved)]
    assert [event.name for event in moves] == ["best", "best-so-far", folder.name, "zzz"]
    assert (live.store.state.name, live.store.state.folder) == ("zzz", str(renamed.path))
    assert [message.partition(": ")[0] for message in live.told] == ["the run's folder was moved"] * 4
    live.check_all_is_in(renamed)
    assert [record.name for record in list_runs()] == ["zzz"]
    assert moved_to(folder) == moved_to(RunFolder(folder.path.with_name("best-so-far"))) == renamed


def test_a_folder_that_is_removed_ends_the_run_after_a_while(
    folder: RunFolder, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder.path)
    live.log(5)
    assert f"{folder.path}: the run's folder was removed: nothing can be saved" in live.told[-1]
    assert not live.ended
    (row,) = list_runs()
    assert (row.name, row.status) == (folder.name, "unreachable")
    assert row.reason == f"the run is live, but its folder was removed (pid {os.getpid()})"
    monkeypatch.setattr(run_place, "GRACE_SECONDS", 0.0)
    live.log(5)
    assert live.ended == [f"the run's folder {folder.path} was removed"]
    assert not folder.path.exists(), "nothing is written where the user wants nothing"


def test_a_folder_that_is_put_back_has_everything(folder: RunFolder, live: Live, tmp_path: Path) -> None:
    for _ in range(2):
        shutil.copytree(folder.path, tmp_path / "backup", symlinks=True)
        shutil.rmtree(folder.path)
        live.log(5)
        shutil.move(tmp_path / "backup", folder.path)
        live.log(5)
    assert "the run's folder is back after" in live.told[-1]
    assert len(live.told) == 4, live.told
    assert [row.status for row in list_runs()] == ["running"]
    live.check_all_is_in(folder)


def test_a_folder_that_is_replaced_by_a_copy_of_another_name_is_found(folder: RunFolder, live: Live) -> None:
    copy = RunFolder(folder.path.with_name("copy"))
    shutil.copytree(folder.path, folder.path.with_name("backup"))
    live.store.state.step += 1
    live.store._files.write_all(live.store.state)
    shutil.copytree(folder.path, copy.path)
    shutil.rmtree(folder.path)
    live.log(5)
    live.check_all_is_in(copy)


def test_another_folder_at_the_same_place_is_not_taken_for_it(folder: RunFolder, live: Live) -> None:
    shutil.rmtree(folder.path)
    for content in (None, "{}", '{"name": "x", "folder": "y"}'):
        folder.path.mkdir(exist_ok=True)
        if content is not None:
            folder.run_file.write_text(content)
        live.log(5)
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]
    assert "was removed" in live.told[-1]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make the folder of another user")
def test_a_copy_of_another_user_is_not_taken_for_it(folder: RunFolder, live: Live) -> None:
    """Where others can write, they can rename the folder and put a forged one in its place."""
    aside = RunFolder(folder.path.rename(folder.path.with_name("aside")))
    shutil.copytree(aside.path, folder.path)
    os.chown(folder.path, 54399, 54399)
    before = folder.run_file.read_bytes(), folder.metrics_file.read_bytes()
    live.log(5)
    assert (folder.run_file.read_bytes(), folder.metrics_file.read_bytes()) == before
    live.check_all_is_in(aside)


def test_a_folder_that_is_moved_elsewhere_is_missed_and_gets_the_rest_at_the_end(
    folder: RunFolder, live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trash = RunFolder(tmp_path / "trash" / folder.name)
    trash.path.parent.mkdir()
    folder.path.rename(trash.path)
    live.log(5)
    assert f"{folder.path}: the run's folder was moved to {trash.path}: nothing can be" in live.told[-1]
    trash.path.rename(folder.path)
    live.log(5)
    folder.path.rename(trash.path)
    live.log(5)
    monkeypatch.setattr(run_place, "GRACE_SECONDS", 0.0)
    live.log(5)
    assert live.ended == [f"the run's folder was moved from {folder.path} to {trash.path}"]
    live.check_all_is_in(trash)


def test_a_folder_that_moves_with_the_one_above_it_is_followed(folder: RunFolder, live: Live) -> None:
    above = folder.path.parent.rename(folder.path.parent.with_name("old-runs"))
    live.log(5)
    live.check_all_is_in(RunFolder(above / folder.name))


def test_a_folder_that_is_replaced_by_a_link_to_it_stays(
    folder: RunFolder, live: Live, tmp_path: Path
) -> None:
    folder.path.symlink_to(folder.path.rename(tmp_path / "elsewhere"))
    live.log(5)
    assert live.told == []
    live.check_all_is_in(folder)


def test_a_link_to_the_folder_may_be_removed(folder: RunFolder, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder.path)
    live = Live(RunFolder(link))
    link.unlink()
    live.log(5)
    assert live.told == [f"the run's folder was moved: it is {folder.path} now"]
    live.check_all_is_in(folder)
    live.lock.release()


def test_a_folder_above_that_is_missing_never_ends_the_run(
    folder: RunFolder, live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_place, "GRACE_SECONDS", 0.0)
    shutil.copytree(folder.path.parent, tmp_path / "disk")
    shutil.rmtree(folder.path.parent)
    live.log(10)
    (row,) = list_runs()
    assert row.reason == f"the run is live, but its disk is away (pid {os.getpid()})"
    assert "the run's disk is away (No such file or directory): the training continues" in live.told[-1]
    shutil.copytree(tmp_path / "disk", folder.path.parent)
    live.log(5)
    assert not live.ended
    live.check_all_is_in(folder)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.EACCES])
def test_a_disk_that_is_away_never_ends_the_run(
    folder: RunFolder, live: Live, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(path: Path) -> tuple[int, int]:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as away:
        away.setattr(run_place, "GRACE_SECONDS", 0.0)
        away.setattr(run_place, "_identity", fail)
        live.log(10)
        assert os.strerror(number) in live.told[-1]
        assert len(live.told) == 1
    live.log(5)
    assert not live.ended
    live.check_all_is_in(folder)


def test_files_that_are_removed_are_made_again(folder: RunFolder, live: Live) -> None:
    for path in folder.path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    live.log(5)
    live.store.drain()
    assert folder.load_record().status == "running"
    assert holds_lock(folder.lock_file)
    assert [line["step"] for line in lines_of(folder.metrics_file)] == [*range(6, 11)]
    assert live.told == ["metrics.jsonl was removed: it begins anew, with the lines from now on"]


def test_a_lock_that_another_worker_has_taken_ends_the_run(folder: RunFolder, live: Live) -> None:
    def taken(folder: RunFolder) -> None:
        raise run_place.RunError("the run already has a worker (pid 7)")

    live.store.place.follow_with(taken)
    live.log(5)
    assert live.ended == ["the run already has a worker (pid 7)"]
