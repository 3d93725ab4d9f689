"""A run's record: atomic writes, validation, and the true status."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.runs import make_folder, running
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.decoding import decode
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import note_launch
from torchconsole.engine.run.record import LAUNCH_SECONDS, RunRecord
from torchconsole.engine.run.sockets import listen_at


def test_a_record_is_read_back_as_written(tmp_path: Path) -> None:
    best = {"metric": "val/loss", "value": 0.1, "step": 7}
    folder = make_folder(tmp_path, status="finished", step=9, lr=0.01, best=best, details={"phase": "x"})
    record = folder.read_record()
    assert (record.status, record.step, record.best, record.details) == ("finished", 9, best, {"phase": "x"})
    assert {"name", "preset", "status", "pid", "host", "step", "epoch", "lr", "best"} <= set(record.to_json())
    assert "details" not in record.to_json()
    assert (record.to_json()["processes"], record.to_json()["batch_size"]) == (1, None)
    record.details |= {"processes": 2, "batch_size": 64}
    assert (record.to_json()["processes"], record.to_json()["batch_size"]) == (2, 64)
    assert decode(RunRecord, {**record.to_json(), "of_a_later_version": 1}).step == 9


def test_a_moved_folder_has_its_new_path_and_name(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="finished")
    moved = RunFolder(folder.path.rename(tmp_path / "elsewhere"))
    assert moved.read_record().folder == str(tmp_path / "elsewhere")
    assert moved.read_record().name == "elsewhere"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"status": "running"}', "\xff"])
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    folder = make_folder(tmp_path)
    folder.run_file.write_text(content, encoding="latin-1")
    with pytest.raises(RunError, match=r"run\.json"):
        folder.read_record()


def test_a_folder_without_a_record_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder(tmp_path).read_record()


def test_a_failed_write_leaves_the_old_record(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, step=1)
    (tmp_path / folder.name / f".run.json.{os.getpid()}.tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        folder.write_record(RunRecord(folder.name, "", step=2))
    assert json.loads(folder.run_file.read_text())["step"] == 1


def test_a_running_record_without_a_worker_is_lost(tmp_path: Path) -> None:
    record = make_folder(tmp_path, **running()).read_record()
    assert record.status == "lost"
    assert "4000000" in record.reason
    assert "exited unexpectedly" in record.reason


def test_a_run_interrupted_by_a_reboot_is_not_lost(tmp_path: Path) -> None:
    record = make_folder(tmp_path, **running(boot_id="another")).read_record()
    assert record.status == "interrupted"
    assert "rebooted" in record.reason


def test_the_status_of_a_run_on_another_machine_is_taken_as_recorded(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, **running(host="elsewhere", boot_id="another"))
    assert folder.read_record().status == "running"
    assert not folder.read_record().is_here


def test_a_renamed_machine_recognizes_its_runs(tmp_path: Path, socket_root: Path) -> None:
    socket = socket_root / "run.sock"
    folder = make_folder(tmp_path, **running(host="its-old-name", socket=str(socket)))
    assert folder.read_record().status == "lost"
    assert not folder.read_record().is_here, "a container sees the lock, and not the sockets beside it"
    with listen_at(socket):
        assert folder.read_record().is_here


def test_an_ended_run_needs_no_worker(tmp_path: Path) -> None:
    assert make_folder(tmp_path, status="stopped", pid=4_000_000).read_record().status == "stopped"


def test_a_run_just_launched_is_starting(tmp_path: Path) -> None:
    assert make_folder(tmp_path).read_record().status == "starting"


def test_a_launch_that_takes_too_long_is_lost(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, updated=time.time() - LAUNCH_SECONDS - 1)
    assert folder.read_record().status == "lost"


def test_a_launched_process_that_has_ended_is_lost_at_once(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    process = subprocess.Popen(["sleep", "60"])
    note_launch(folder.lock_file, process.pid)
    assert folder.read_record().status == "starting"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert folder.read_record().status == "lost", "a zombie is gone too"
    process.wait()
    assert folder.read_record().status == "lost"
