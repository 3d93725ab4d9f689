"""How much memory may be taken, within the limits of the cgroups that a process is in."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import psutil
import pytest

from torchconsole.engine.components.data import free_memory as subject

FREE = 1000
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")
NO_LIMIT = 2**63 - 4096
"""What version 1 shows where there is none."""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with 1000 bytes free, and no cgroups but those that a test makes."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: mock.Mock(available=FREE))
    monkeypatch.setattr(subject, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(subject, "MOUNT", tmp_path / "mount")


def be_in(*lines: str) -> None:
    """Let this process be in these cgroups."""
    subject.MEMBERSHIP.write_text("".join(f"{line}\n" for line in lines))


def limit(group: str, most: int | str, used: int, cache: int, files: tuple[str, str, str] = V2) -> None:
    """Make a cgroup."""
    folder = subject.MOUNT / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / files[0]).write_text(f"{most}\n")
    (folder / files[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{files[2]} {cache}\nactive_file 7\n")


def test_without_cgroups_it_is_what_the_machine_has() -> None:
    assert subject.free_memory() == FREE


def test_a_container_sees_its_own_limit_at_the_root() -> None:
    be_in("0::/")
    limit("", 500, used=200, cache=0)
    assert subject.free_memory() == 300


def test_a_job_has_the_limits_of_all_groups_above_it() -> None:
    be_in("0::/system.slice/job_7/step_0")
    limit("system.slice/job_7", 500, used=400, cache=0)
    limit("system.slice/job_7/step_0", "max", used=10, cache=0)
    limit("system.slice/job_8", 10, used=10, cache=0)
    assert subject.free_memory() == 100


def test_the_cache_of_files_that_were_read_is_free() -> None:
    be_in("0::/")
    limit("", 500, used=490, cache=400)
    assert subject.free_memory() == 410


def test_what_is_used_beyond_the_limit_leaves_nothing() -> None:
    be_in("0::/")
    limit("", 500, used=600, cache=0)
    assert subject.free_memory() == 0


def test_the_limits_of_version_1_count_too() -> None:
    be_in("5:cpu,cpuacct:/a", "4:memory:/docker/abc", "0::/")
    limit("memory", 500, used=300, cache=100, files=V1)
    assert subject.free_memory() == 300
    limit("memory", NO_LIMIT, used=300, cache=100, files=V1)
    assert subject.free_memory() == FREE
