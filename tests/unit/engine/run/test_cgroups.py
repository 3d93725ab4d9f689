"""The cores that CPU affinity and the quotas of cgroups leave; test_memory_budget.py has the memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torchconsole.engine.run import cgroups

CORES = 8


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight cores, and only the cgroups that a test makes."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(CORES)))
    monkeypatch.setattr(cgroups, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "MOUNT", tmp_path / "mount")


def join(*lines: str) -> None:
    """Put this process into these cgroups."""
    cgroups.MEMBERSHIP.write_text("".join(f"{line}\n" for line in lines))


def write(group: str, **files: str) -> None:
    """Make a cgroup with these files; in their names, `__` stands for a dot."""
    folder = cgroups.MOUNT / group
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def test_without_cgroups_the_affinity_counts() -> None:
    assert cgroups.usable_cores() == CORES


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", CORES),
        ("300000 100000", 3),
        ("250000 100000", 2),
        ("20000 100000", 1),
        ("9900000 100000", CORES),
    ],
)
def test_a_quota_counts_in_whole_cores(quota: str, cores: int) -> None:
    join("0::/")
    write("", cpu__max=quota)
    assert cgroups.usable_cores() == cores


def test_the_quotas_of_parent_groups_count() -> None:
    join("0::/job/step")
    write("job", cpu__max="200000 100000")
    write("job/step", cpu__max="max 100000")
    write("other", cpu__max="100000 100000")
    assert cgroups.usable_cores() == 2


def test_the_quotas_of_cgroup_version_1_count() -> None:
    join("5:cpu,cpuacct:/docker/abc", "4:memory:/docker/abc", "3:cpuset:/")
    write("cpu", cpu__cfs_quota_us="400000", cpu__cfs_period_us="100000")
    assert cgroups.usable_cores() == 4
    write("cpu", cpu__cfs_quota_us="-1")
    assert cgroups.usable_cores() == CORES
