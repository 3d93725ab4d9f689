"""A trainer on a small preset with a recording event queue, for the tests of the training loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchconsole.engine.components.data.data_record import DataRecord
from torchconsole.engine.components.ranks import planned_ranks
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.protocol.events import Event, PhaseChanged
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_handler import answer_saves
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.parts import TrainingParts, build_parts
from torchconsole.engine.training.setup import TrainingSetup, build_setup
from torchconsole.engine.training.train_state import TrainState
from torchconsole.engine.training.trainer import Trainer

# On busy cores, two threads that wait for each other take many times as long as one.
torch.set_num_threads(1)

MakeSession = Callable[..., "Session"]


class RecordingEventQueue:
    """Record the trainer's events; `on_log` is called at every logged step, in the training thread."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.points: list[MetricsPoint] = []
        self.on_log: Callable[[MetricsPoint], None] = lambda point: None

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def log(self, point: MetricsPoint) -> None:
        self.points.append(point)
        self.on_log(point)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def losses(self) -> list[tuple[int, float]]:
        return [(point.step, point.metrics["train/loss"]) for point in self.points]


def ignore_phase(phase: PhaseChanged) -> None:
    """Report nothing."""


def parts_for(
    preset: Preset, *, from_checkpoint: bool = False, record: DataRecord | None = None
) -> TrainingParts:
    """Data, model and loss on the CPU, as in the first of the processes that the preset asks for."""
    cpu = torch.device("cpu")
    ranks = planned_ranks(preset.distributed)
    return build_parts(preset, cpu, ignore_phase, from_checkpoint=from_checkpoint, record=record, ranks=ranks)


def setup_for(preset: Preset, *, from_checkpoint: bool = False) -> TrainingSetup:
    """All that a trainer needs, on the CPU."""
    return build_setup(parts_for(preset, from_checkpoint=from_checkpoint), ignore_phase)


class ObservedLoss(nn.Module):
    """A loss that passes each training loss through `change`, with the number of its step."""

    def __init__(self, run: Session, change: Callable[[int, Tensor], Tensor]) -> None:
        super().__init__()
        self._loss_fn, self._progress, self._change = run.setup.loss_fn, run.state.progress, change

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self._loss_fn(outputs, targets)
        return self._change(self._progress.step + 1, loss) if loss.requires_grad else loss


def during_step(run: Session, act: Callable[[int], object]) -> None:
    """Call `act` with the number of each step while it is being made, before its boundary is reached."""

    def unchanged(step: int, loss: Tensor) -> Tensor:
        act(step)
        return loss

    run.setup.loss_fn = ObservedLoss(run, unchanged)


class Session:
    """A trainer on the CPU with everything that it needs."""

    def __init__(self, checkpoints: Path, overrides: Sequence[str] = (), preset: str = "digits-mlp") -> None:
        config = load_preset(preset, ["training.log_every=1", *overrides])
        self.checkpoints = checkpoints
        self.event_queue = RecordingEventQueue()
        self.commands = CommandQueue()
        self.setup = setup_for(config)
        emit = self.event_queue.emit
        writer = AsyncCheckpointWriter(checkpoints, config.checkpoint.keep, emit, answer=answer_saves(emit))
        writer.start()
        self.state = TrainState(self.setup)
        self.manager = CheckpointManager(self.setup.preset.checkpoint, self.state, writer)
        self.trainer = Trainer(self.setup, self.state, self.manager, self.commands, self.event_queue)


def weights(run: Session) -> list[Tensor]:
    """A copy of the weights as they are now."""
    return [weight.detach().clone() for weight in run.setup.model.parameters()]


def flat(tensors: list[Tensor]) -> Tensor:
    """All numbers in a row."""
    return torch.cat([tensor.flatten() for tensor in tensors])


def at_batch(run: Session, number: int, spoil: float) -> None:
    """Multiply the loss of the batch with this number, from 1, by `spoil`."""
    batches = itertools.count(1)

    def change(step: int, loss: Tensor) -> Tensor:
        return loss * spoil if next(batches) == number else loss

    run.setup.loss_fn = ObservedLoss(run, change)
