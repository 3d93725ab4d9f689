"""Free memory within the limits of the process's cgroups, and whether samples are kept in it."""

from __future__ import annotations

import resource
from pathlib import Path
from unittest import mock

import psutil
import pytest

from torchconsole.engine.components.data import memory_budget as subject
from torchconsole.engine.components.data.memory_budget import InMemory, MemoryProbe, decide_in_memory
from torchconsole.engine.errors import DataError
from torchconsole.engine.run import cgroups

FREE = 1000
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")
NO_LIMIT = 2**63 - 4096
"""What cgroup version 1 shows if there is no limit."""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 1000 bytes free, and only the cgroups that a test makes."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: mock.Mock(available=FREE))
    monkeypatch.setattr(cgroups, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "MOUNT", tmp_path / "mount")


def join_cgroups(*lines: str) -> None:
    """Put this process into these cgroups."""
    cgroups.MEMBERSHIP.write_text("".join(f"{line}\n" for line in lines))


def limit(group: str, most: int | str, used: int, cache: int, files: tuple[str, str, str] = V2) -> None:
    """Make a cgroup."""
    folder = cgroups.MOUNT / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / files[0]).write_text(f"{most}\n")
    (folder / files[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{files[2]} {cache}\nactive_file 7\n")


def test_without_cgroups_the_free_memory_of_the_machine_counts() -> None:
    assert subject.free_host_memory() == FREE


def test_the_limit_of_a_container_counts() -> None:
    join_cgroups("0::/")
    limit("", 500, used=200, cache=0)
    assert subject.free_host_memory() == 300


def test_the_limits_of_all_parent_groups_count() -> None:
    join_cgroups("0::/system.slice/job_7/step_0")
    limit("system.slice/job_7", 500, used=400, cache=0)
    limit("system.slice/job_7/step_0", "max", used=10, cache=0)
    limit("system.slice/job_8", 10, used=10, cache=0)
    assert subject.free_host_memory() == 100


def test_the_file_cache_counts_as_free() -> None:
    join_cgroups("0::/")
    limit("", 500, used=490, cache=400)
    assert subject.free_host_memory() == 410


def test_usage_above_the_limit_leaves_nothing() -> None:
    join_cgroups("0::/")
    limit("", 500, used=600, cache=0)
    assert subject.free_host_memory() == 0


def test_the_limits_of_cgroup_version_1_count() -> None:
    join_cgroups("5:cpu,cpuacct:/a", "4:memory:/docker/abc", "0::/")
    limit("memory", 500, used=300, cache=100, files=V1)
    assert subject.free_host_memory() == 300
    limit("memory", NO_LIMIT, used=300, cache=100, files=V1)
    assert subject.free_host_memory() == FREE


@pytest.mark.parametrize(
    ("requested", "size", "train", "decided"),
    [
        ("auto", 500, "to read", True),
        ("auto", 501, "to read", False),
        ("auto", 501, "in memory", "auto"),
        ("auto", 500, "in memory", True),
        ("auto", 0, "random", "auto"),
        (True, 1000, "to read", True),
        (True, 5000, "in memory", True),
        (False, 0, "random", False),
    ],
)
def test_auto_keeps_samples_that_take_at_most_half_of_the_free_memory(
    requested: InMemory, size: int, train: str, decided: InMemory
) -> None:
    probe = MemoryProbe(size, FREE, train != "random", train == "in memory")
    assert decide_in_memory(requested, probe) == decided


def test_true_is_refused_if_the_samples_do_not_fit() -> None:
    probe = MemoryProbe(3 << 20, 1 << 20, train_can_be_kept=True, train_is_in_memory=False)
    with pytest.raises(DataError, match=r"data.in_memory: the samples take 3.0 MiB, but only 1.0 MiB"):
        decide_in_memory(True, probe)


@pytest.mark.parametrize("kind", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_the_limits_of_the_process_count(kind: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `ulimit -v` and `ulimit -d` set them."""
    monkeypatch.setattr(subject, "PROCESS_STATUS", tmp_path / "status")
    subject.PROCESS_STATUS.write_text("Name:\tpython: a\nVmSize:\t  5 kB\nVmData:\t  5 kB\n")
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    limits = {kind: (5 * 1024 + 70, resource.RLIM_INFINITY)}
    monkeypatch.setattr(resource, "getrlimit", lambda number: limits.get(number, unlimited))
    assert subject.free_host_memory() == 70
