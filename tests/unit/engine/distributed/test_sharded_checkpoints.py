"""What processes write together, here a group of one."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from torchconsole.engine.config.schema import CheckpointConfig
from torchconsole.engine.distributed import sharded_checkpoints
from torchconsole.engine.distributed.sharded_checkpoints import (
    ShardedCheckpoints,
    ShardedWriter,
    write_together,
)
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.protocol.events import CheckpointSaved, Event
from torchconsole.engine.run.checkpoints import Manifest, fingerprint
from torchconsole.engine.training.checkpoint import read_checkpoint, write_checkpoint
from torchconsole.engine.training.checkpoint_writer import SaveJob

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


def test_no_folder_is_made(sharded: DTensor, tmp_path: Path) -> None:
    """The run's folder may have been renamed, or its disk is not mounted on a machine."""
    with pytest.raises(FileNotFoundError, match="process 0: No such file or directory"):
        write_together({"model.weight": sharded}, tmp_path / "run/checkpoints/.writing", ALONE)
    assert list(tmp_path.iterdir()) == []


class RenamedMeanwhile(ShardedWriter):
    """A writer whose run is renamed when the others have been told where to write."""

    def _say(self, folder: str) -> None:
        run = self.folder.parent
        if run.name == "run":
            run.rename(run.with_name("renamed"))

    def flush_events(self) -> None:
        """Follow the run, as the writer of the events does."""
        if not self.folder.parent.exists():
            self.move_to(self.folder.parent.with_name("renamed") / self.folder.name)


def test_a_save_follows_a_run_that_is_renamed_meanwhile(sharded: DTensor, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    emitted: list[Event] = []
    writer = RenamedMeanwhile(ALONE, tmp_path / "run/checkpoints", 2, emitted.append, lambda: None)
    writer._flush_events = writer.flush_events
    writer.start()
    state = {"model": {"weight": sharded}}
    writer.submit(SaveJob(state, Manifest(step=3, epoch=0, revision=0, kept=False, metrics={}), "last", None))
    writer.close()
    assert [type(event) for event in emitted] == [CheckpointSaved]
    assert [path.name for path in tmp_path.iterdir()] == ["renamed"]
    read = read_checkpoint(tmp_path / "renamed/checkpoints/step-00000003")
    assert torch.equal(read["model"]["weight"], torch.ones(4096, 2))


def test_best_weights_that_a_process_cannot_read_cost_the_run_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **_: Any) -> None:
        raise CheckpointError("step-00000001: cannot be read: Input/output error")

    best = SimpleNamespace(step=1)
    state: Any = SimpleNamespace(
        early_stopping=SimpleNamespace(best=best), progress=SimpleNamespace(step=2), state_dict=dict
    )
    job: Any = SimpleNamespace(leads=True, of_leader=lambda item: item, share_state=lambda item: item)
    job.gather = lambda item: ["", item]
    job.at_disk = nullcontext
    writer = ShardedWriter(job, tmp_path, 2, lambda event: None)
    checkpoints = ShardedCheckpoints(CheckpointConfig(), state, job, writer)
    monkeypatch.setattr(checkpoints, "_best", lambda step: (tmp_path, {}, ""))
    monkeypatch.setattr(sharded_checkpoints, "fill", fail)
    taken: list[object] = []
    assert checkpoints.restore_best(taken.append) == (
        "; the best weights cannot be restored: process 1: step-00000001: cannot be read: Input/output error"
    )
    assert taken == []


def test_a_checkpoint_that_one_process_cannot_read_is_read_by_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **_: Any) -> None:
        raise CheckpointError("step-00000001: cannot be read: Input/output error")

    state: Any = SimpleNamespace(state_dict=dict, optimized=[])
    job: Any = SimpleNamespace(leads=True, of_leader=lambda item: item, share_state=lambda item: item)
    job.gather = lambda item: ["", item]
    job.at_disk = nullcontext
    writer = ShardedWriter(job, tmp_path / "checkpoints", 2, lambda event: None)
    checkpoints = ShardedCheckpoints(CheckpointConfig(), state, job, writer)
    write_checkpoint(
        tmp_path / "checkpoints", {}, Manifest(step=1, epoch=0, revision=0, kept=False, metrics={})
    )
    monkeypatch.setattr(sharded_checkpoints, "fill", fail)
    with pytest.raises(CheckpointError, match="process 1: step-00000001: cannot be read"):
        checkpoints.read("step-00000001")
