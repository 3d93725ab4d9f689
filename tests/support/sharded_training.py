"""A sharded training by a job of one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tests.support.sessions import RecordingEventQueue, ignore_phase
from torchconsole.engine.components.shards import is_sharded
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.distributed.job import Job, Plan
from torchconsole.engine.distributed.sharded_checkpoints import ShardedCheckpoints, ShardedWriter
from torchconsole.engine.distributed.sharding import shard_training
from torchconsole.engine.run.membership import Membership
from torchconsole.engine.training.checkpoint import newest_valid
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.train_state import TrainState
from torchconsole.engine.training.trainer import Trainer

CHANGES = (
    "model.dropout=0",
    "training.log_every=1",
    "training.max_steps=12",
    "ema.decay=0.9",
    "loss.l2=0.001",
)


@contextmanager
def job_of_one(device: torch.device) -> Iterator[Job]:
    """Form the process group of a job that has this process alone."""
    job = Job(Membership(0, 1, 0, 1, "127.0.0.1", 0, "0", launcher_hosts=False, by_slurm=False))
    # Ends the thread that waits for other processes: Python cannot exit within torch's call of it.
    job.publish(Plan(preset="", record=None, finds_unused=False, run=""))
    job.form(device, 1.0, saves_together=True)
    try:
        yield job
    finally:
        job.leave()


def losses(device: torch.device, folder: Path, *overrides: str) -> list[float]:
    """Train a preset and return the losses; with `distributed.strategy=fsdp`, sharded."""
    preset = load_preset("digits-mlp", [*CHANGES, *overrides])
    with job_of_one(device) as job:
        setup = build_setup(build_parts(preset, device, ignore_phase, ranks=job), ignore_phase)
        state, events = TrainState(setup), RecordingEventQueue()
        if preset.distributed.strategy == "fsdp":
            shard_training(job, setup, state)
            assert all(map(is_sharded, setup.model.parameters()))
        writer = ShardedWriter(job, folder, 2, events.emit)
        writer.start()
        checkpoints = ShardedCheckpoints(preset.checkpoint, state, job, writer)
        Trainer(setup, state, checkpoints, CommandQueue(), events).run()
        writer.close()
    return [loss for _, loss in events.losses]


def assert_is_whole(checkpoints: Path) -> None:
    """Check that the newest checkpoint has shards, and that they are read as plain tensors."""
    folder, state, problems = newest_valid(checkpoints)
    assert not problems
    assert (folder / ".metadata").exists()
    assert all(type(weight) is torch.Tensor for weight in state["model"].values())
