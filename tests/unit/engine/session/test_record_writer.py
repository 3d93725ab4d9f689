"""The end of a run is recorded even if the disk is full by then."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.runs import FINISHED, STARTED, log_steps, make_folder
from torchconsole.engine import files
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run import jsonl
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.session.end_problem import describe_problem
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.event_store import EventStore

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Ending:
    """A run whose disk fills up before it ends."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.queue = EventQueue()
        self.store = EventStore(folder, RunState(name=folder.name, folder=str(folder.path)), self.queue)
        self.published: list[ev.Event] = []
        self.store.subscribe(self.published.append)
        self.queue.emit(STARTED)
        self.store.drain()

    def end(self, event: ev.RunFinished = FINISHED) -> ev.RunFinished:
        """Log two steps and end the run; returns the end as clients receive it."""
        log_steps(self.queue, 1, 2)
        self.queue.emit(event)
        self.store.drain()
        self.store.close()
        return next(event for event in self.published if isinstance(event, ev.RunFinished))


@pytest.fixture
def ending(tmp_path: Path) -> Ending:
    return Ending(make_folder(tmp_path))


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every new file, and every line, fail as on a full disk."""

    def fail(*_: object, **__: object) -> int:
        raise FULL

    monkeypatch.setattr(files, "_create", fail)
    monkeypatch.setattr(jsonl.JsonLines, "_write", fail)


def test_a_run_that_could_write_everything_has_no_problem(ending: Ending) -> None:
    assert ending.folder.spare_file.stat().st_size >= 64 << 10
    assert ending.end().problem == ""
    assert (ending.folder.load_record().status, ending.folder.load_record().problem) == ("finished", "")
    assert not ending.folder.spare_file.exists()


def test_the_end_is_recorded_on_a_full_disk(ending: Ending, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk(monkeypatch)
    unsaved = "checkpoint at step 2 not saved: No space left on device"
    problem = ending.end(FINISHED.model_copy(update={"problem": unsaved})).problem
    record = ending.folder.load_record()
    assert (record.status, record.problem) == ("finished", problem)
    assert problem == (
        "checkpoint at step 2 not saved: No space left on device; metrics.jsonl could not be written: "
        f"No space left on device; free space in {ending.folder.path.parent}, then `torchconsole resume "
        f"{ending.folder.name}` repeats what came after the last checkpoint"
    )
    assert not ending.folder.spare_file.exists()


def test_the_spare_file_is_kept_for_the_end(ending: Ending, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk(monkeypatch)
    ending.queue.emit(ev.RunPaused(step=1))
    ending.store.drain()
    assert ending.folder.load_record().status == "running"
    assert ending.folder.spare_file.exists()
    ending.end()
    assert ending.folder.load_record().status == "finished"


def test_without_a_spare_file_run_json_is_among_the_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise FULL

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    ending = Ending(make_folder(tmp_path))
    fill_disk(monkeypatch)
    assert "metrics.jsonl, run.json could not be written: No space left on device" in ending.end().problem


def test_on_a_small_disk_the_spare_file_is_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_much(descriptor: int, offset: int, size: int) -> None:
        if size > 20_000:
            raise FULL
        os.truncate(descriptor, size)

    monkeypatch.setattr(os, "posix_fallocate", refuse_much)
    ending = Ending(make_folder(tmp_path))
    fill_disk(monkeypatch)
    ending.end()
    assert ending.folder.load_record().status == "finished"


def test_a_record_that_outgrows_the_spare_file_gets_a_larger_one(ending: Ending) -> None:
    ending.queue.emit(ev.RunPaused(step=1))
    ending.store.state.title = "x" * 200_000
    ending.store.drain()
    assert ending.folder.spare_file.stat().st_size > 400_000
    ending.end()
    assert not ending.folder.spare_file.exists()


def test_a_folder_without_inodes_is_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = os.statvfs(tmp_path)
    without = os.statvfs_result((*disk[:6], 0, 0, *disk[8:10]))
    monkeypatch.setattr(os, "statvfs", lambda path: without)
    problem = describe_problem("", {"journal.jsonl": FULL}, RunFolder(tmp_path / "run"))
    assert "remove some files, because" in problem
    assert "has no inodes left (see `df -i`)" in problem


def test_what_is_only_a_cache_is_no_problem(tmp_path: Path) -> None:
    assert describe_problem("", {"history.json": FULL}, RunFolder(tmp_path)) == ""
