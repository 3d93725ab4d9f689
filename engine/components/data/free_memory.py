"""How much of the host's memory this process may still take: what is free, within the limits of its cgroups.

A container or a batch job has such limits, which the machine's free memory does not show. See the kernel's
admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

import psutil

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")

_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""By controller, which version 2 does not name: the limit, what is used of it, and in memory.stat the cache
of files within that, which the kernel gives up first."""


def free_memory() -> int:
    """Bytes."""
    free: int = psutil.virtual_memory().available
    return min([free, *_left_in_cgroups()])


def _left_in_cgroups() -> Iterator[int]:
    """In each cgroup with a limit that this process is in: a limit holds for all groups below."""
    for controller, group in _groups():
        limit, used, cache = _FILES[controller]
        place = MOUNT / controller
        for folder in (place / above for above in (group, *group.parents)):
            try:
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                taken = int((folder / used).read_text()) - int(stat[cache])
                yield max(0, int((folder / limit).read_text()) - taken)
            except (OSError, ValueError, KeyError):
                continue  # the root and what lies outside a container have no such files; no limit is "max"


def _groups() -> Iterator[tuple[str, PurePath]]:
    """The controller and the group's path below its mount, for each hierarchy that limits memory."""
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in _FILES.keys() & set(controllers.split(",")):
            yield controller, PurePath(path.lstrip("/"))
