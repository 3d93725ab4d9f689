"""A worker that the kernel killed for lack of memory: the counters that tell, and what the record says."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.support.runs import make_folder
from torchconsole.engine.run import cgroups, memory_kills
from torchconsole.engine.run.liveness import boot_id
from torchconsole.engine.run.memory_kills import REMEDY, describe_exit, explain_kill, read_counters
from torchconsole.engine.run.process_end import failure_reason

V2 = "0::/user.slice/job\n"
V1 = "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has killed 7 processes, without cgroups."""
    monkeypatch.setattr(cgroups, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "MOUNT", tmp_path / "mount")
    monkeypatch.setattr(memory_kills, "MACHINE", tmp_path / "vmstat")
    memory_kills.MACHINE.write_text("nr_free_pages 12\noom_kill 7\n")
    return tmp_path


ELSEWHERE = (
    f"was killed by the kernel because the machine, or an enclosing cgroup, ran out of memory; {REMEDY}"
)
"""Said where the limit of its own cgroup was not the cause, or may not have been."""


def put_into_cgroup(membership: str) -> Path:
    """Put this process into a cgroup with a limit of 512 MiB, and return the cgroup's folder."""
    cgroups.MEMBERSHIP.write_text(membership)
    version_2 = membership == V2
    folder = cgroups.MOUNT / ("user.slice/job" if version_2 else "memory/docker/abc")
    folder.mkdir(parents=True)
    (folder / ("memory.max" if version_2 else "memory.limit_in_bytes")).write_text(f"{512 << 20}\n")
    count_kills(folder, 0, at_limit=False)
    return folder


def count_kills(folder: Path, kills: int, *, at_limit: bool = True) -> None:
    """Count kills; the cgroup has reached its limit three times before, and once more with the kills."""
    if (folder / "memory.max").exists():
        lines = f"low 0\noom {3 + at_limit}\noom_kill {kills}\noom_group_kill 0\n"
        (folder / "memory.events").write_text(lines)
    else:
        (folder / "memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n")
        (folder / "memory.failcnt").write_text(f"{3 + at_limit}\n")


@pytest.mark.parametrize("membership", [V1, V2], ids=["v1", "v2"])
def test_a_kill_in_the_cgroup_is_certain(membership: str) -> None:
    folder = put_into_cgroup(membership)
    before = read_counters()
    assert explain_kill(before) is None
    count_kills(folder, 1)
    assert explain_kill(before) == (
        f"was killed by the kernel because its cgroup reached its memory limit of 512.0 MiB; {REMEDY}"
    )


@pytest.mark.parametrize("membership", [V1, V2], ids=["v1", "v2"])
def test_a_cgroup_within_its_limit_was_not_the_cause(membership: str) -> None:
    folder = put_into_cgroup(membership)
    before = read_counters()
    count_kills(folder, 1, at_limit=False)
    assert explain_kill(before) == ELSEWHERE


def test_a_cgroup_without_a_limit_was_not_the_cause() -> None:
    folder = put_into_cgroup(V2)
    (folder / "memory.max").write_text("max\n")
    before = read_counters()
    count_kills(folder, 1)
    assert explain_kill(before) == ELSEWHERE


@pytest.mark.parametrize("membership", [V1, V2], ids=["v1", "v2"])
def test_a_record_that_does_not_say_how_often_the_limit_was_reached_accuses_no_limit(membership: str) -> None:
    folder = put_into_cgroup(membership)
    kills = {file: count for file, count in read_counters().items() if Path(file).is_file()}
    count_kills(folder, 1)
    assert explain_kill(kills) == ELSEWHERE


@pytest.mark.parametrize("membership", [V1, V2], ids=["v1", "v2"])
def test_a_kill_elsewhere_on_the_machine_is_none_of_a_cgroup_that_counts(membership: str) -> None:
    put_into_cgroup(membership)
    before = read_counters()
    memory_kills.MACHINE.write_text("oom_kill 8\n")
    assert explain_kill(before) is None


def test_the_machines_counter_is_a_hint_without_a_cgroup_and_after_its_end() -> None:
    before = read_counters()
    folder = put_into_cgroup(V2)
    of_job = read_counters()
    for file in folder.iterdir():
        file.unlink()
    memory_kills.MACHINE.write_text("oom_kill 8\n")
    for counters in (before, of_job):
        assert "possibly because memory ran out" in (explain_kill(counters) or "")


def test_a_forged_record_has_no_other_file_read(tmp_path: Path) -> None:
    secret = tmp_path / "memory.events"
    secret.write_text("oom_kill 9\n")
    for name in (str(secret), f"{cgroups.MOUNT}/../memory.events", "/dev/zero", "x"):
        assert explain_kill({name: 0}) is None


def test_a_machine_that_counts_nothing_explains_nothing() -> None:
    memory_kills.MACHINE.unlink()
    assert read_counters() == {}
    assert explain_kill({}) is None


def test_the_record_of_a_killed_worker_names_memory_and_what_to_lower(tmp_path: Path) -> None:
    folder = put_into_cgroup(V2)
    facts = {"host": socket.gethostname(), "boot_id": boot_id(), "pid": 7, "memory_kills": read_counters()}
    run = make_folder(tmp_path / "runs", status="running", **facts)
    assert run.read_record().reason == "the worker (pid 7) exited unexpectedly; see worker.log"
    count_kills(folder, 1)
    record = run.read_record()
    assert record.status == "lost"
    assert record.reason.startswith("the worker (pid 7) was killed by the kernel because its cgroup")
    assert "lower data.batch_size or data.num_workers" in record.reason
    assert "memory_kills" not in record.to_json()


def test_a_report_that_was_killed_names_memory_too() -> None:
    folder = put_into_cgroup(V2)
    before = read_counters()
    assert describe_exit(-signal.SIGTERM, before) == "killed by SIGTERM"
    assert "may have run out of memory" in describe_exit(-signal.SIGKILL, before)
    count_kills(folder, 1)
    reason = failure_reason(-signal.SIGKILL, ["anything"], before)
    assert reason.startswith("killed by SIGKILL: it was killed by the kernel because its cgroup reached its")
