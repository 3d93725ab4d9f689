"""Decides whether samples are kept in memory (`data.in_memory = "auto"`), from how much of it is free.

The limits of this process's cgroups count too: those of a container or a batch job may be lower than what the
machine has left. See the kernel's admin-guide/cgroup-v2.rst
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
    """Size of all samples that can be kept: those that are the same in every epoch."""
    bytes_to_read: int
    """Size of the ones that must still be read."""
    free_bytes: int
    """Free memory of the host."""
    train_can_be_kept: bool
    """Whether the samples of the training set can be kept."""
    train_is_in_memory: bool
    """Whether the training set is in memory already, because its source has it as tensors."""

    @property
    def budget(self) -> int:
        """Bytes of samples that `auto` keeps at most: half of the free memory."""
        return self.free_bytes // 2


def decide_in_memory(requested: InMemory, probe: MemoryProbe) -> InMemory:
    """Decide `data.in_memory` from the value in the preset.

    It stays "auto" if the size of the training set does not matter, because the set cannot be kept or is in
    memory already. Raises DataError if true is requested and the samples do not fit into free memory.
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
    """Return how many bytes of the host's memory this process can still use."""
    free: int = psutil.virtual_memory().available
    return min([free, *_free_in_cgroups()])


def _free_in_cgroups() -> Iterator[int]:
    """Yield the free memory of each cgroup that this process is in; a group limits all groups below it."""
    for controller, group in _cgroups():
        limit, usage, cache = _CGROUP_FILES[controller]
        mount = CGROUP_MOUNT / controller
        for folder in (mount / above for above in (group, *group.parents)):
            try:
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                used = int((folder / usage).read_text()) - int(stat[cache])
                yield max(0, int((folder / limit).read_text()) - used)
            except (OSError, ValueError, KeyError):
                # The root group and groups outside a container have no such files; "max" means no limit.
                continue


def _cgroups() -> Iterator[tuple[str, PurePath]]:
    """Yield the controller, and the group's path below its mount, of each hierarchy that limits memory."""
    try:
        lines = CGROUP_MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in _CGROUP_FILES.keys() & set(controllers.split(",")):
            yield controller, PurePath(path.lstrip("/"))
