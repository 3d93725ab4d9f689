"""A process on a GPU trains a sharded model: FSDP2 over nccl, with a world of one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.sessions import RecordingEventQueue, ignore_phase
from torchconsole.engine.components.shards import is_sharded
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.distributed.job import Job
from torchconsole.engine.distributed.sharded_checkpoints import ShardedCheckpoints, ShardedWriter
from torchconsole.engine.distributed.sharding import shard_training
from torchconsole.engine.run.membership import Membership
from torchconsole.engine.training.checkpoint import newest_valid
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.train_state import TrainState
from torchconsole.engine.training.trainer import Trainer

pytestmark = pytest.mark.gpu

PLAIN = ("model.dropout=0", "training.log_every=1", "training.max_steps=12", "ema.decay=0.9", "loss.l2=0.001")


@pytest.fixture
def job(gpu: torch.device) -> Iterator[Job]:
    job = Job(Membership(0, 1, 0, 1, "127.0.0.1", 0, "0", launcher_hosts=False, by_slurm=False))
    job.form(gpu, 1.0, saves_together=True)
    yield job
    job.leave()


def losses(job: Job, gpu: torch.device, folder: Path, *overrides: str, is_sharded_: bool) -> list[float]:
    preset = load_preset("digits-mlp", [*PLAIN, *overrides])
    setup = build_setup(build_parts(preset, gpu, ignore_phase, ranks=job), ignore_phase)
    state, events = TrainState(setup), RecordingEventQueue()
    if is_sharded_:
        shard_training(job, setup, state)
        assert all(map(is_sharded, setup.model.parameters()))
    writer = ShardedWriter(job, folder, 2, events.emit)
    writer.start()
    checkpoints = ShardedCheckpoints(preset.checkpoint, state, job, 1.0, writer)
    Trainer(setup, state, checkpoints, CommandQueue(), events).run()
    return [loss for _, loss in events.losses]


@pytest.mark.parametrize(
    "overrides",
    [
        ("training.precision=fp32",),
        ("training.precision=bf16", "training.clip_norm=1.0", "training.grad_accum_steps=2"),
        ("training.precision=fp16", "training.clip_norm=1.0"),
        ("training.precision=bf16", "training.clip_norm=1.0", "distributed.cpu_offload=true"),
    ],
)
def test_losses_equal_those_without_shards(
    job: Job, gpu: torch.device, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    found = losses(job, gpu, tmp_path / "fsdp", "distributed.strategy=fsdp", *overrides, is_sharded_=True)
    job.sharding = None
    plain = [each for each in overrides if "cpu_offload" not in each]
    expected = losses(job, gpu, tmp_path / "plain", *plain, is_sharded_=False)
    assert found == pytest.approx(expected, rel=1e-2)
    folder, state, problems = newest_valid(tmp_path / "fsdp")
    assert not problems
    assert (folder / ".metadata").exists()
    assert all(isinstance(weight, torch.Tensor) for weight in state["model"].values())
