"""The lock shows whether a run has a worker, however the worker ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.liveness import (
    WorkerLock,
    boot_id,
    exit_reason,
    holds_lock,
    lock_holder,
    start_ticks,
)

HOLD = """
import sys
from pathlib import Path
from torchconsole.engine.run.liveness import WorkerLock
WorkerLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""
ASK = """
import sys
from pathlib import Path
from torchconsole.engine.run.liveness import lock_holder
print(lock_holder(Path(sys.argv[1])))
"""


def start_holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def holder_seen_from_outside(path: Path) -> str:
    asked = subprocess.run([sys.executable, "-c", ASK, str(path)], capture_output=True, text=True, check=True)
    return asked.stdout.strip()


def test_a_missing_lock_file_has_no_holder(tmp_path: Path) -> None:
    assert lock_holder(tmp_path / "worker.lock") is None
    assert not (tmp_path / "worker.lock").exists()


def test_the_holder_is_known_and_its_end_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "worker.lock"
    with start_holder(path) as holder:
        assert lock_holder(path) == holder.pid
        with pytest.raises(RunError, match=f"pid {holder.pid}"):
            WorkerLock(path).acquire()
        assert lock_holder(path) == holder.pid, "a query and a failed attempt do not release the lock"
        holder.kill()
        holder.wait()
        assert lock_holder(path) is None
    lock = WorkerLock(path)
    lock.acquire()
    lock.release()


def test_the_holder_can_query_its_own_lock_without_losing_it(tmp_path: Path) -> None:
    path = tmp_path / "worker.lock"
    lock = WorkerLock(path)
    lock.acquire()
    assert lock_holder(path) == os.getpid()
    with pytest.raises(RunError, match="already has a worker"):
        WorkerLock(path).acquire()
    assert holder_seen_from_outside(path) == str(os.getpid())
    lock.release()
    assert holder_seen_from_outside(path) == "None"
    assert not holds_lock(path)


def test_a_forked_child_knows_that_its_parent_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "worker.lock"
    script = (
        "import os, sys; from pathlib import Path\n"
        "from torchconsole.engine.run.liveness import WorkerLock, lock_holder\n"
        "path = Path(sys.argv[1]); WorkerLock(path).acquire(); parent = os.getpid()\n"
        "child = os.fork()\n"
        "if not child: os._exit(0 if lock_holder(path) == parent else 1)\n"
        "_, status = os.waitpid(child, 0)\n"
        "print(os.waitstatus_to_exitcode(status), flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "0\n"
        assert lock_holder(path) == parent.pid, "the child's end changed nothing"


def test_a_process_is_identified_by_its_start() -> None:
    assert start_ticks(os.getpid()) == start_ticks(os.getpid())
    assert start_ticks(4_100_000) is None
    assert len(boot_id()) == 36


def test_the_end_of_a_process_is_described() -> None:
    assert [exit_reason(status) for status in (0, 2, -9)] == [
        "exited with status 0",
        "exited with status 2",
        "killed by SIGKILL",
    ]


def test_a_lock_that_is_not_there_is_not_made_for_an_ended_run(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path / "worker.lock")
    with pytest.raises(RunError, match="cannot be locked: No such file"):
        lock.acquire(create=False)
    assert not list(tmp_path.iterdir())
