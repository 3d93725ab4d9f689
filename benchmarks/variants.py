"""The variants that train in this process, each with its own model and data from the same seed.

They share weights, data, batch size and precision. Only training is timed: no variant evaluates, and
building the model and the data is excluded. `ours` is the engine's loop as a run uses it, logging every
hundredth of an epoch, with no client.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.loops import plain_loop, tutorial_loop
from benchmarks.workloads import Workload
from torchconsole.engine.protocol.events import EpochCompleted, Event, RunStarted
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.parts import TrainingParts, build_parts
from torchconsole.engine.training.precision import AUTOCAST
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.train_state import TrainState
from torchconsole.engine.training.trainer import Trainer

TUTORIAL, OURS = "tutorial", "ours"
PLAIN = ("plain", "plain, foreach", "plain, fused")
UNATTENDED, ATTACHED = "unattended", "attached"
BARE, RICH = "lightning, bare", "lightning, rich bar"

HAND_WRITTEN: dict[str, tuple[Callable[..., list[float]], dict[str, Any]]] = {
    TUTORIAL: (tutorial_loop, {}),
    PLAIN[0]: (plain_loop, {}),
    PLAIN[1]: (plain_loop, {"foreach": True}),
    PLAIN[2]: (plain_loop, {"fused": True}),
}
"""Loop, and optimizer arguments in addition to the preset's."""


@dataclass(frozen=True)
class TrainingResult:
    """What a variant did in `seconds`: samples, optimizer steps, and the mean training loss of each epoch."""

    seconds: float
    samples: int
    updates: int
    losses: list[float]
    """Empty if only a window of a longer training was measured."""

    @property
    def rate(self) -> float:
        """Samples per second."""
        return self.samples / self.seconds


Variant = Callable[[int], TrainingResult]
"""Trains with the given seed."""


def in_process_variants(workload: Workload, epochs: int) -> dict[str, Variant]:
    """The hand-written loops and ours, by name."""
    hand_written: dict[str, Variant] = {
        name: lambda seed, loop=loop, extra=extra: _hand_written(workload, epochs, seed, loop, extra)  # type: ignore[misc]
        for name, (loop, extra) in HAND_WRITTEN.items()
    }
    return hand_written | {OURS: lambda seed: _ours(workload, epochs, seed)}


def build(workload: Workload, epochs: int, seed: int) -> TrainingParts:
    """Build the workload's data, model and loss."""
    options = [f"training.epochs={epochs}", f"training.seed={seed}", f"training.threads={workload.threads}"]
    return build_parts(workload.preset_for(*options), torch.device(workload.device), lambda phase: None)


def tensors(setup: TrainingParts) -> tuple[Tensor, Tensor]:
    """The training data as the model sees it, on the CPU: inputs (N, ...) and targets (N,)."""
    batches = [(inputs.cpu(), targets.cpu()) for inputs, targets in setup.data.train.epoch(0)]
    return torch.cat([inputs for inputs, _ in batches]), torch.cat([targets for _, targets in batches])


def plain_optimizer(workload: Workload, model: nn.Module, **extra: Any) -> Optimizer:
    """The preset's optimizer as one writes it by hand, with torch's defaults."""
    config = workload.preset_for().optimizer
    arguments = {**config.arguments, **extra}
    made: Optimizer = getattr(torch.optim, config.name)(model.parameters(), **arguments)
    return made


def _hand_written(
    workload: Workload, epochs: int, seed: int, loop: Callable[..., list[float]], extra: dict[str, Any]
) -> TrainingResult:
    setup = build(workload, epochs, seed)
    inputs, targets = tensors(setup)
    optimizer = plain_optimizer(workload, setup.model, **extra)
    size = setup.preset.data.batch_size
    start = time.perf_counter()
    losses = loop(
        _with_autocast(setup), setup.loss_fn, optimizer, inputs, targets, size, epochs, workload.device
    )
    seconds = time.perf_counter() - start
    return TrainingResult(seconds, epochs * len(inputs), epochs * setup.steps_per_epoch, losses)


class _Autocast(nn.Module):
    """A model whose forward pass runs in the preset's mixed precision."""

    def __init__(self, setup: TrainingParts) -> None:
        super().__init__()
        self.model, self._autocast = setup.model, setup.precision.autocast

    def forward(self, inputs: Tensor) -> Tensor:
        with self._autocast:
            output: Tensor = self.model(inputs)
        return output.float()


def _with_autocast(setup: TrainingParts) -> nn.Module:
    """The model, wrapped so that the hand-written loops compute in the same precision as ours."""
    return _Autocast(setup) if setup.precision.name in AUTOCAST else setup.model


class EpochTimer:
    """An event queue that records when training starts, when each epoch ends, and its loss."""

    def __init__(self) -> None:
        self.start = self.end = 0.0
        self.losses: list[float] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.start = time.perf_counter()
        elif isinstance(event, EpochCompleted):
            self.end = time.perf_counter()
            self.losses.append(event.metrics["train/loss"] or float("nan"))

    def log(self, point: MetricsPoint) -> None: ...


def _ours(workload: Workload, epochs: int, seed: int) -> TrainingResult:
    setup, timer = build_setup(build(workload, epochs, seed), lambda phase: None), EpochTimer()
    with tempfile.TemporaryDirectory() as folder:
        writer = AsyncCheckpointWriter(Path(folder), keep=1, emit=timer.emit)
        writer.start()
        state = TrainState(setup)
        manager = CheckpointManager(setup.preset.checkpoint, state, writer)
        outcome = Trainer(setup, state, manager, CommandQueue(), timer).run()
    samples = epochs * setup.data.train.samples_per_epoch
    return TrainingResult(timer.end - timer.start, samples, outcome.step or 0, timer.losses)
