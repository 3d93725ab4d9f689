"""What processes write together, here a group of one."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from torchconsole.engine.distributed.sharded_checkpoints import write_together
from torchconsole.engine.run.checkpoints import fingerprint

ALONE: Any = SimpleNamespace(rank=0, size=1, saves=None)


@pytest.fixture
def sharded() -> Iterator[DTensor]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield distribute_tensor(torch.ones(4096, 2), init_device_mesh("cpu", (1,)), [Shard(0)])
    finally:
        dist.destroy_process_group()


def test_the_files_of_all_are_identified(sharded: DTensor, tmp_path: Path) -> None:
    found = write_together({"model.weight": sharded}, tmp_path, ALONE)
    assert found == {path.name: fingerprint(path) for path in tmp_path.iterdir()}
    assert found.keys() == {"__0_0.distcp", ".metadata"}


def test_a_file_that_cannot_be_written_has_the_reason_of_the_system(sharded: DTensor, tmp_path: Path) -> None:
    """A limit stands for a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="process 0: File too large"):
            write_together({"model.weight": sharded}, tmp_path, ALONE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
