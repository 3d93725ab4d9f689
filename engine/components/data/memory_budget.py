"""Decides whether samples are kept in memory (`data.in_memory = "auto"`), from how much of it is free.

The limits of this process and of its cgroups count too.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from torchconsole.engine.errors import DataError
from torchconsole.engine.run import cgroups
from torchconsole.engine.text import mebibytes

InMemory = bool | Literal["auto"]
"""A value of `data.in_memory`."""

PROCESS_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class MemoryProbe:
    """What decides whether samples are kept in memory; all sizes in bytes."""

    train_bytes: int
    """Size of the training set's samples, if they can be kept: if they are the same in every epoch."""
    free_bytes: int
    """Free memory of the host."""
    train_can_be_kept: bool
    """Whether the samples of the training set can be kept."""
    train_is_in_memory: bool
    """Whether the training set is in memory already, because its source has it as tensors."""

    @property
    def budget(self) -> int:
        """Bytes of samples of all sets that `auto` keeps at most: half of the free memory.

        The other half is for the model, and for a second copy of a batch or two.
        """
        return self.free_bytes // 2


def decide_in_memory(requested: InMemory, probe: MemoryProbe) -> InMemory:
    """Decide whether the training set is kept in memory, from `data.in_memory` in the preset.

    It stays "auto" if the size of the set does not matter, because the set cannot be kept or is in memory
    already. Raises DataError if true is requested and the samples do not fit into free memory.
    """
    if requested is True and not probe.train_is_in_memory and probe.train_bytes > probe.free_bytes:
        raise DataError(
            f"data.in_memory: the samples take {mebibytes(probe.train_bytes)}, but only "
            f'{mebibytes(probe.free_bytes)} of memory are free; set it to "auto" or false'
        )
    if requested == "auto" and probe.train_can_be_kept:
        if probe.train_bytes <= probe.budget:
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
    return min([free, *cgroups.free_memory(), *_free_in_limits()])


def _free_in_limits() -> Iterator[int]:
    """Yield what the limits of this process (`ulimit -v` and `-d`) leave."""
    lines = PROCESS_STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
    status = dict(line.split(":", 1) for line in lines)
    for number, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit = resource.getrlimit(number)[0]
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - 1024 * int(status[used].split()[0]))
