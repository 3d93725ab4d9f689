"""A worker that is suspended is shown as that, with what continues it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runs import make_folder, wait_until
from torchconsole.engine.client.client import connect
from torchconsole.engine.run import suspension
from torchconsole.engine.run.liveness import start_ticks
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.suspension import how_to_continue
from torchconsole.engine.run.suspension import suspension as suspension_of
from torchconsole.tui.run_filter import matching
from torchconsole.tui.run_listing import run_cells


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.send_signal(signal.SIGCONT)
        process.kill()


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: suspension_of(process.pid), "the process to stop")


def test_a_stopped_process_is_suspended_until_it_continues(process: subprocess.Popen[bytes]) -> None:
    start = start_ticks(process.pid)
    assert start is not None
    assert suspension_of(process.pid, start) == ""
    stop(process)
    assert suspension_of(process.pid, start) == "SIGSTOP"
    assert suspension_of(process.pid, start + 1) == "", "another process with this pid"
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: not suspension_of(process.pid), "the process to continue")
    process.kill()
    process.wait()
    assert suspension_of(process.pid, start) == ""


@pytest.mark.parametrize(
    ("membership", "file", "content"),
    [
        ("0::/job", "job/cgroup.events", "populated 1\nfrozen 1\n"),
        ("6:freezer:/job\n0::/", "freezer/job/freezer.state", "FROZEN\n"),
    ],
    ids=["v2", "v1"],
)
def test_a_frozen_cgroup_suspends_its_processes(
    membership: str, file: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = tmp_path / "proc" / "7"
    process.mkdir(parents=True)
    (process / "stat").write_text("7 (python (x)) S 1 7 7\n")
    (process / "cgroup").write_text(membership)
    monkeypatch.setattr(suspension, "PROC", tmp_path / "proc")
    monkeypatch.setattr(suspension, "CGROUPS", tmp_path)
    assert suspension_of(7) == ""
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(content)
    assert suspension_of(7) == "freezer"
    assert "thaw it" in how_to_continue("freezer", 7)


def test_lists_show_a_suspended_run(process: subprocess.Popen[bytes]) -> None:
    record = RunRecord(
        "run", "/x", status="running", pid=process.pid, host=socket.gethostname(),
        process_start=start_ticks(process.pid),
    )  # fmt: skip
    assert run_cells(record, 0)[0] == "running"
    stop(process)
    assert run_cells(record, 0)[0] == "suspended (SIGSTOP)"
    assert matching([record], ["suspended"]) == [record]
    assert record.to_json()["suspended_by"] == "SIGSTOP"
    assert record.status == "running"


def test_a_run_elsewhere_or_ended_is_not_suspended(process: subprocess.Popen[bytes]) -> None:
    stop(process)
    facts = {"pid": process.pid, "process_start": start_ticks(process.pid)}
    assert RunRecord("run", "/x", status="running", host="elsewhere", **facts).suspended_by == ""
    assert RunRecord("run", "/x", status="failed", host=socket.gethostname(), **facts).suspended_by == ""


async def test_a_suspended_run_is_read_from_its_files(
    process: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Its worker would not answer for half a minute."""
    stop(process)
    facts = {"pid": process.pid, "process_start": start_ticks(process.pid), "host": socket.gethostname()}
    folder = make_folder(tmp_path, status="running", **facts)
    (folder.path / "worker.lock").touch()
    record = folder.load_record()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(folder), "read_record", lambda _: record)
        async with connect(folder) as client:
            assert client.live
            assert client.read_only == (f"suspended (SIGSTOP): continue it with `kill -CONT {process.pid}`")
