"""Training on a GPU computes the same as on the CPU, resumes exactly and never waits for the device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch.utils._triton import has_triton

from tests.support.sessions import RecordingEventQueue, ignore_phase
from torchconsole.engine.components.data import DataSpec, memory_budget
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.losses import build_loss
from torchconsole.engine.components.models import ZOO, build_model
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import LossConfig, ModelConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.checkpoint import newest_valid
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.setup import TrainingSetup, build_setup
from torchconsole.engine.training.step import TrainingStep
from torchconsole.engine.training.step_phases import StepPhases
from torchconsole.engine.training.train_state import TrainState
from torchconsole.engine.training.trainer import Trainer

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
MOMENTUM = "optimizer={name='SGD', lr=0.02, momentum=0.9, nesterov=true}"
PLAIN = ("training.precision=fp32", "model.dropout=0", "training.log_every=1", "early_stopping=")


@pytest.fixture(autouse=True)
def restored_settings() -> Iterator[None]:
    """Restore the settings of torch that a test changes for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.cuda.set_sync_debug_mode("default")


def build(*overrides: str, preset: str = "digits-cnn", device: torch.device = CUDA) -> TrainingSetup:
    parts = build_parts(load_preset(preset, [*PLAIN, *overrides]), device, ignore_phase)
    return build_setup(parts, ignore_phase)


class Training(NamedTuple):
    """A trainer with its queues."""

    trainer: Trainer
    event_queue: RecordingEventQueue
    commands: CommandQueue

    @property
    def losses(self) -> list[tuple[int, float]]:
        return self.event_queue.losses

    def run(self) -> None:
        self.trainer.run()

    def stop_at(self, step: int) -> None:
        """Put a stop command into the queue while `step` is being logged."""

        def put_stop(point: MetricsPoint) -> None:
            if point.step == step:
                self.commands.put("stop", StopRun(), "")

        self.event_queue.on_log = put_stop

    def resume_from(self, checkpoints: Path) -> None:
        self.trainer.state.load_state_dict(newest_valid(checkpoints)[1])


def training(setup: TrainingSetup, folder: Path) -> Training:
    event_queue, commands = RecordingEventQueue(), CommandQueue()
    writer = AsyncCheckpointWriter(folder, 2, event_queue.emit)
    writer.start()
    state = TrainState(setup)
    manager = CheckpointManager(setup.preset.checkpoint, state, writer)
    return Training(Trainer(setup, state, manager, commands, event_queue), event_queue, commands)


def test_data_that_fits_is_stored_on_the_device() -> None:
    inputs, targets = next(build().data.train.epoch(0))
    assert (inputs.device.type, targets.device.type) == ("cuda", "cuda")


@pytest.mark.parametrize("overrides", [(), (MOMENTUM, "schedule=")])
def test_losses_equal_those_on_the_cpu(overrides: tuple[str, ...], tmp_path: Path) -> None:
    losses = []
    for device in (torch.device("cpu"), CUDA):
        setup = build("training.epochs=1", *overrides, device=device)
        on_device = training(setup, tmp_path / device.type)
        on_device.run()
        losses.append([loss for _, loss in on_device.losses])
    assert losses[1][:10] == pytest.approx(losses[0][:10], rel=1e-3)
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


@pytest.mark.parametrize(
    "overrides",
    [
        ("training.precision=fp32",),
        ("training.precision=tf32",),
        ("training.precision=auto",),
        (MOMENTUM, "ema.decay=0.9", "training.clip_norm=1.0", "training.clip_value=1.0"),
        ("training.precision=auto", "ema.decay=0.9", "training.nonfinite=skip"),
        (MOMENTUM, "training.nonfinite=skip"),
        (
            "training.precision=auto",
            "training.grad_accum_steps=2",
            "loss={name='BCEWithLogitsLoss', l1=0.001, l2=0.001}",
        ),
        ("training.precision=auto", "data.transforms.batch=[{name='MixUp'}, {name='CutMix'}]"),
        pytest.param(
            ("training.precision=auto", "training.compile=true"),
            marks=pytest.mark.skipif(not has_triton(), reason="torch.compile needs Triton"),
        ),
    ],
)
def test_no_step_waits_for_the_device(overrides: tuple[str, ...], tmp_path: Path) -> None:
    """The first batches are excluded: optimizers create their state and code is compiled in them."""
    setup = build(*overrides)
    trainer = training(setup, tmp_path).trainer
    step = TrainingStep(setup, trainer.state.progress, trainer.state.meter)
    step.begin_epoch()
    batches = list(setup.data.train.epoch(0))
    for inputs, targets in batches[:3]:
        step(inputs, targets)
    torch.cuda.set_sync_debug_mode("error")
    for inputs, targets in batches[3:20]:
        step(inputs, targets)
        setup.learning_rate.step()


def test_measuring_the_parts_of_a_step_waits_for_nothing(tmp_path: Path) -> None:
    setup = build("training.precision=fp32")
    trainer = training(setup, tmp_path).trainer
    phases = StepPhases(CUDA)
    step = TrainingStep(setup, trainer.state.progress, trainer.state.meter, phases)
    step.begin_epoch()
    batches = list(setup.data.train.epoch(0))
    for inputs, targets in batches[:3]:
        step(inputs, targets)
    torch.cuda.set_sync_debug_mode("error")
    for inputs, targets in batches[3:20]:
        phases.turn(0.0)
        step(inputs, targets)
        if phases.is_open:
            phases.close()
    torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    phases.turn(0.0)
    assert phases.times is not None
    assert all(phases.times.parts[part] > 0 for part in ("forward", "backward", "optimizer"))


@pytest.mark.parametrize("storage", ["cuda", "cpu"])
def test_no_batch_in_memory_waits_for_the_device(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes random transforms on the device."""
    monkeypatch.setattr(
        memory_budget, "free_bytes", lambda device: 2**40 if device.type in ("cpu", storage) else 0
    )
    chain = (
        "{name='RandomCrop', size=8, padding=1}, {name='RandomErasing', value=0.5}, "
        "{name='RandomErasing', value='random'}, {name='Normalize', mean=[0.5], std=[0.5]}"
    )
    mixers = "{name='MixUp'}, {name='CutMix'}"
    setup = build(f"data.transforms.train=[{chain}]", f"data.transforms.batch=[{mixers}]")
    batches = setup.data.train.epoch(0)
    next(batches)
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(10):
        inputs, targets = next(batches)
        assert (inputs.device.type, targets.device.type) == ("cuda", "cuda")


@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
def test_the_loss_falls_in_every_precision(precision: str, tmp_path: Path) -> None:
    if precision == "bf16" and not torch.cuda.is_bf16_supported():
        pytest.skip("this GPU does not support bf16")
    in_precision = training(build(f"training.precision={precision}", "training.epochs=4"), tmp_path)
    in_precision.run()
    first, last = in_precision.losses[0][1], in_precision.losses[-1][1]
    assert last < first / 3


@pytest.mark.parametrize("more", [(), (MOMENTUM, "ema.decay=0.9", "training.precision=auto")])
def test_a_resume_is_exact_with_deterministic_kernels(more: tuple[str, ...], tmp_path: Path) -> None:
    overrides = ("training.deterministic=true", "training.epochs=2", "model.dropout=0.3", *more)
    uninterrupted = training(build(*overrides), tmp_path / "uninterrupted")
    uninterrupted.run()
    stopped = training(build(*overrides), tmp_path / "stopped")
    stopped.stop_at(60)
    stopped.run()
    resumed = training(build(*overrides), tmp_path / "stopped")
    resumed.resume_from(tmp_path / "stopped")
    resumed.run()
    assert [step for step, _ in stopped.losses] == [*range(1, 61)]
    assert stopped.losses + resumed.losses == uninterrupted.losses


@pytest.mark.parametrize("first", [CUDA, torch.device("cpu")])
def test_a_checkpoint_can_be_resumed_on_another_device(first: torch.device, tmp_path: Path) -> None:
    other = torch.device("cpu") if first == CUDA else CUDA
    uninterrupted = training(build(MOMENTUM, "schedule=", device=first), tmp_path / "uninterrupted")
    uninterrupted.stop_at(60)
    uninterrupted.run()
    stopped = training(build(MOMENTUM, "schedule=", device=first), tmp_path / "stopped")
    stopped.stop_at(50)
    stopped.run()
    resumed = training(build(MOMENTUM, "schedule=", device=other), tmp_path / "stopped")
    resumed.resume_from(tmp_path / "stopped")
    resumed.stop_at(60)
    resumed.run()
    expected = [loss for _, loss in uninterrupted.losses[50:]]
    assert [loss for _, loss in resumed.losses] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("workers", [0, 2])
def test_loaded_batches_equal_those_in_memory(workers: int) -> None:
    """The data loader workers are forked while CUDA is in use."""
    loaded = build("data.in_memory=false", f"data.num_workers={workers}").data
    kept = build().data
    for one, other in ((loaded.train.epoch(0), kept.train.epoch(0)), (loaded.val, kept.val)):
        for (x, y), (inputs, targets) in zip(one, other, strict=True):
            assert x.device == y.device == inputs.device
            torch.testing.assert_close(x, inputs)
            assert torch.equal(y, targets)


@pytest.mark.parametrize("name", ZOO)
def test_every_network_of_torchconsole_has_deterministic_kernels(name: str) -> None:
    shape = (1, 32, 32)
    data = DataSpec("multiclass", shape, 10, [str(number) for number in range(10)])
    model = build_model(ModelConfig(name=name), data, UserCode()).to(CUDA)
    torch.use_deterministic_algorithms(True)
    model(torch.randn(4, *shape, device=CUDA)).logsumexp(dim=1).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_bce_waits_for_the_device_only_once_and_does_not_end_the_process() -> None:
    """torch itself ends a process whose outputs are outside of 0 to 1, by an assertion on the device."""
    of = DataSpec("binary", (4,), 1, ["a", "b"])
    loss = build_loss(LossConfig(name="BCELoss"), of, None, UserCode()).to(CUDA)
    targets = torch.tensor([[0.0], [1.0]], device=CUDA)
    outputs = torch.tensor([[0.2], [0.7]], device=CUDA, requires_grad=True)
    first = loss(outputs, targets)
    torch.cuda.set_sync_debug_mode("error")
    again, outside = loss(outputs, targets), loss(2 * outputs, targets)
    outside.backward()
    torch.cuda.set_sync_debug_mode("default")
    assert again.item() == first.item()
    assert outside.isnan()
    with pytest.raises(ComponentError, match="BCELoss takes probabilities"):
        build_loss(LossConfig(name="BCELoss"), of, None, UserCode())(2 * outputs, targets)
