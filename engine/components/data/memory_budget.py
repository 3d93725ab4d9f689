"""How much memory is free for samples, and whether they are kept in it: `data.in_memory = "auto"`.

Free memory is what the machine has left within the limits of this process's cgroups: a container or a batch
job has such limits, which the machine's free memory does not show. See the kernel's admin-guide/cgroup-v2.rst
and cgroup-v1/memory.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

import psutil
import torch

from torchconsole.engine.errors import DataError
from torchconsole.engine.text import mebibytes

InMemory = bool | Literal["auto"]
"""A value of `data.in_memory`."""

CGROUP_MEMBERSHIP = Path("/proc/self/cgroup")
CGROUP_MOUNT = Path("/sys/fs/cgroup")

_CGROUP_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""By controller (version 2 does not name one): the files with the limit and the usage, and the key in
memory.stat of the file cache within that usage, which the kernel gives up first."""


@dataclass(frozen=True)
class MemoryProbe:
    """What decides whether samples are kept in memory; all sizes in bytes."""

    total_bytes: int
    """Size of all samples that are the same in every epoch, so that they can be kept."""
    bytes_to_read: int
    """Size of those of them that are not in memory yet."""
    free_bytes: int
    """Free memory of the host."""
    train_can_be_kept: bool
    """Whether the training set is among them."""
    train_is_in_memory: bool
    """Whether the training set is in memory already: its source holds it as tensors."""

    @property
    def budget(self) -> int:
        """Bytes of samples that `auto` keeps at most: half of the free memory."""
        return self.free_bytes // 2


def decide_in_memory(requested: InMemory, probe: MemoryProbe) -> InMemory:
    """Decide `data.in_memory` for what the preset requests.

    It stays "auto" if the size of the training set plays no role: it cannot be kept, or is in memory already.
    Raises DataError if true is requested and the samples do not fit into free memory.
    """
    if requested is True and probe.bytes_to_read > probe.free_bytes:
        raise DataError(
            f"data.in_memory: the samples take {mebibytes(probe.bytes_to_read)}, but only "
            f'{mebibytes(probe.free_bytes)} of memory are free; set it to "auto" or false'
        )
    if requested == "auto" and probe.train_can_be_kept:
        if probe.total_bytes <= probe.budget:
            return True
        return "auto" if probe.train_is_in_memory else False
    return requested


def choose_storage_device(size: int, device: torch.device) -> torch.device:
    """Return `device` if `size` bytes of samples take at most half of its free memory, else the CPU."""
    return device if size <= free_bytes(device) // 2 else torch.device("cpu")


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device in bytes; of the host for the CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_host_memory()


def free_host_memory() -> int:
    """Return how many bytes of the host's memory this process may still take."""
    free: int = psutil.virtual_memory().available
    return min([free, *_free_in_cgroups()])


def _free_in_cgroups() -> Iterator[int]:
    """Yield what is left in each cgroup of this process; a limit also holds for all groups below."""
    for controller, group in _cgroups():
        limit, usage, cache = _CGROUP_FILES[controller]
        mount = CGROUP_MOUNT / controller
        for folder in (mount / above for above in (group, *group.parents)):
            try:
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                used = int((folder / usage).read_text()) - int(stat[cache])
                yield max(0, int((folder / limit).read_text()) - used)
            except (OSError, ValueError, KeyError):
                # The root, and what lies outside of a container, have no such files; "max" is no limit.
                continue


def _cgroups() -> Iterator[tuple[str, PurePath]]:
    """Yield the controller and the group's path below its mount, for each hierarchy that limits memory."""
    try:
        lines = CGROUP_MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in _CGROUP_FILES.keys() & set(controllers.split(",")):
            yield controller, PurePath(path.lstrip("/"))
