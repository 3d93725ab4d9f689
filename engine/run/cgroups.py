"""What the cgroups of this process leave it of the machine's memory and cores.

A container or a batch job may have lower limits than the machine. See the kernel's admin-guide/cgroup-v2.rst,
cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")

_MEMORY_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""By controller (version 2 does not name one): the files with the limit and the usage, and the key in
memory.stat of the file cache within that usage, which the kernel gives up first."""

_KILL_FILES = {"": "memory.events", "memory": "memory.oom_control"}
"""By controller: the file with a line `oom_kill N`. Kernels before 4.13 do not count."""

NO_LIMIT = 1 << 62
"""Version 1 writes a number of bytes above this for no limit."""


def free_memory() -> Iterator[int]:
    """Yield the free memory in bytes of each cgroup that limits it."""
    for controller, folder in _folders("memory"):
        limit, usage, cache = _MEMORY_FILES[controller]
        try:
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            used = int((folder / usage).read_text()) - int(stat[cache])
            yield max(0, int((folder / limit).read_text()) - used)
        except (OSError, ValueError, KeyError):
            # The root group and groups outside a container have no such files; "max" means no limit.
            continue


def kill_counter() -> Path | None:
    """Return the file in which this process's cgroup counts kills for lack of memory, if there is one."""
    for controller, folder in _folders("memory"):
        file = folder / _KILL_FILES[controller]
        if file.is_file():
            return file
    return None


def limit_counter(counter: Path) -> tuple[Path, str]:
    """Return where the cgroup with this kill counter counts how often it has reached its memory limit.

    This is a file and the key of a line in it; without a key the number is all that the file has. Version 2
    counts when the kernel had nothing more to give up, and version 1 also before that.
    """
    if counter.name == _KILL_FILES[""]:
        return counter, "oom"
    return counter.with_name("memory.failcnt"), ""


def memory_limit(counter: Path) -> int | None:
    """Return the memory limit in bytes of the cgroup with this kill counter; None if it has none."""
    limits = dict(zip(_KILL_FILES.values(), (names[0] for names in _MEMORY_FILES.values()), strict=True))
    try:
        limit = int((counter.parent / limits[counter.name]).read_text())
    except (OSError, ValueError, KeyError):
        return None
    return limit if limit < NO_LIMIT else None


def usable_cores() -> int:
    """Return how many cores this process can keep busy: its CPU affinity within the quotas of its cgroups.

    A quota of 2.5 cores counts as 2; at least 1.
    """
    return max(1, int(min([len(os.sched_getaffinity(0)), *_core_quotas()])))


def _core_quotas() -> Iterator[float]:
    """Yield the quota of each cgroup that limits CPU time, in cores."""
    for controller, folder in _folders("cpu"):
        try:
            if controller:
                quota = int((folder / "cpu.cfs_quota_us").read_text())
                period = int((folder / "cpu.cfs_period_us").read_text())
            else:
                quota, period = map(int, (folder / "cpu.max").read_text().split())
        except (OSError, ValueError):
            continue  # as for memory
        if quota > 0 and period > 0:
            yield quota / period


def _folders(controller: str) -> Iterator[tuple[str, Path]]:
    """Yield the folders of this process's cgroups that may limit `controller`; parents limit their children.

    Each comes with the controller's name for version 1, and an empty one for version 2.
    """
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        group = PurePath(path.lstrip("/"))
        for name in {"", controller} & set(controllers.split(",")):
            for above in (group, *group.parents):
                yield name, MOUNT / name / above
