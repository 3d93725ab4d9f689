"""The loop on a GPU: it computes what it does on the CPU, resumes exactly, and never waits for the device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.unit.sessions import RecordingOutbox
from torchconsole.engine.components.data import DataSpec, assembling
from torchconsole.engine.components.models import ZOO, build_model
from torchconsole.engine.components.own_code import OwnCode
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.control import CommandQueue
from torchconsole.engine.training.keeper import StateKeeper
from torchconsole.engine.training.layout import settle_layout
from torchconsole.engine.training.rehearsal import first_batch
from torchconsole.engine.training.retention import newest_valid
from torchconsole.engine.training.saver import CheckpointSaver
from torchconsole.engine.training.step import TrainingStep
from torchconsole.engine.training.task import Task, build_task
from torchconsole.engine.training.trainer import Trainer

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
PLAIN = ("training.precision=fp32", "model.dropout=0", "training.log_every=1", "early_stopping=")


@pytest.fixture(autouse=True)
def restored_switches() -> Iterator[None]:
    """Precision and determinism are switched for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.cuda.set_sync_debug_mode("default")


def build(*overrides: str, preset: str = "digits-cnn", device: torch.device = CUDA) -> Task:
    task = build_task(load_preset(preset, [*PLAIN, *overrides]), device, lambda phase: None)
    settle_layout(task, first_batch(task))
    return task


def trainer_of(task: Task, folder: Path) -> tuple[Trainer, RecordingOutbox]:
    outbox = RecordingOutbox()
    saver = CheckpointSaver(folder, 2, outbox.emit)
    saver.start()
    return Trainer(task, StateKeeper(task, saver), CommandQueue(), outbox), outbox


def test_the_data_that_fits_is_kept_on_the_device() -> None:
    inputs, targets = next(build().data.train.epoch(0))
    assert (inputs.device.type, targets.device.type) == ("cuda", "cuda")


def test_the_losses_are_those_of_the_cpu(tmp_path: Path) -> None:
    losses = []
    for device in (torch.device("cpu"), CUDA):
        trainer, outbox = trainer_of(build("training.epochs=1", device=device), tmp_path / device.type)
        trainer.run()
        losses.append([loss for _, loss in outbox.losses])
    assert losses[1][:10] == pytest.approx(losses[0][:10], rel=1e-3)
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "auto"])
def test_no_step_waits_for_the_device(precision: str, tmp_path: Path) -> None:
    task = build(f"training.precision={precision}")
    trainer, _ = trainer_of(task, tmp_path)
    step = TrainingStep(task, trainer.keeper.progress, trainer.keeper.meter)
    step.begin_epoch()
    batches = list(task.data.train.epoch(0))
    for inputs, targets in batches[:3]:
        step(inputs, targets)
    torch.cuda.set_sync_debug_mode("error")
    for inputs, targets in batches[3:20]:
        step(inputs, targets)
        task.learning_rate.step()


@pytest.mark.parametrize("home", ["cuda", "cpu"])
def test_no_batch_in_memory_waits_for_the_device(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the data is kept, and transformed at random on the device."""
    monkeypatch.setattr(assembling, "budget", lambda device: 2**40 if device.type in ("cpu", home) else 0)
    chain = (
        "{name='RandomCrop', size=8, padding=1}, {name='RandomErasing', value=0.5}, "
        "{name='RandomErasing', value='random'}, {name='Normalize', mean=[0.5], std=[0.5]}"
    )
    batches = build(f"data.transforms.train=[{chain}]").data.train.epoch(0)
    next(batches)
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(10):
        inputs, targets = next(batches)
        assert (inputs.device.type, targets.device.type) == ("cuda", "cuda")


@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
def test_it_learns_in_every_precision(precision: str, tmp_path: Path) -> None:
    if precision == "bf16" and not torch.cuda.is_bf16_supported():
        pytest.skip("this GPU does not compute in bf16")
    trainer, outbox = trainer_of(build(f"training.precision={precision}", "training.epochs=4"), tmp_path)
    trainer.run()
    first, last = outbox.losses[0][1], outbox.losses[-1][1]
    assert last < first / 3


def test_a_resume_is_exact_where_kernels_are_deterministic(tmp_path: Path) -> None:
    overrides = ("training.deterministic=true", "training.epochs=2", "model.dropout=0.3")
    whole, outbox = trainer_of(build(*overrides), tmp_path / "whole")
    whole.run()
    stopped, before = trainer_of(build(*overrides), tmp_path / "parts")
    stop_at(60, stopped, before)
    stopped.run()
    resumed, after = trainer_of(build(*overrides), tmp_path / "parts")
    resumed.keeper.restore(newest_valid(tmp_path / "parts")[1])
    resumed.run()
    assert [step for step, _ in before.losses] == [*range(1, 61)]
    assert before.losses + after.losses == outbox.losses


@pytest.mark.parametrize("name", ZOO)
def test_every_network_of_the_zoo_has_deterministic_kernels(name: str) -> None:
    shape = (1, 32, 32)
    data = DataSpec("multiclass", shape, 10, [str(number) for number in range(10)])
    model = build_model(ModelConfig(name=name), data, OwnCode()).to(CUDA)
    torch.use_deterministic_algorithms(True)
    model(torch.randn(4, *shape, device=CUDA)).logsumexp(dim=1).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def stop_at(step: int, trainer: Trainer, outbox: RecordingOutbox) -> None:
    """Hand in the command while this step is being logged."""

    def hand_in(point: MetricsPoint) -> None:
        if point.step == step:
            trainer._commands.put("stop", StopRun(), "")

    outbox.on_log = hand_in
