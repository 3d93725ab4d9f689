"""The loops that are compared, each on a task of its own: same seed, weights, data, batch size, precision.

Timed is training alone: no arm evaluates, and building the task is left out. Ours is the engine's loop as a
run uses it, with logging every hundredth of an epoch, in this process and heard by nobody.
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
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.dry_run import first_batch
from torchconsole.engine.training.layout import settle_layout
from torchconsole.engine.training.precision import AUTOCAST
from torchconsole.engine.training.setup import TrainingSetup, build_setup
from torchconsole.engine.training.train_state import StateKeeper
from torchconsole.engine.training.trainer import Trainer

TUTORIAL, OURS = "tutorial", "ours"
PLAIN = ("plain", "plain, foreach", "plain, fused")
UNATTENDED, ATTACHED = "unattended", "attached"
BARE, RICH = "lightning, bare", "lightning, rich bar"

BY_HAND: dict[str, tuple[Callable[..., list[float]], dict[str, Any]]] = {
    TUTORIAL: (tutorial_loop, {}),
    PLAIN[0]: (plain_loop, {}),
    PLAIN[1]: (plain_loop, {"foreach": True}),
    PLAIN[2]: (plain_loop, {"fused": True}),
}
"""Loop, and what the optimizer is told beyond the preset."""


@dataclass(frozen=True)
class Trained:
    """What an arm did in `seconds`: mean training loss of each epoch, and steps of the optimizer."""

    seconds: float
    samples: int
    updates: int
    losses: list[float]
    """None where the arm is an excerpt of a longer training."""

    @property
    def rate(self) -> float:
        """Samples per second."""
        return self.samples / self.seconds


Arm = Callable[[int], Trained]
"""Trains with this seed."""


def arms_of(workload: Workload, epochs: int) -> dict[str, Arm]:
    """The loops by hand, and ours."""
    by_hand: dict[str, Arm] = {
        name: lambda seed, loop=loop, more=more: _by_hand(workload, epochs, seed, loop, more)  # type: ignore[misc]
        for name, (loop, more) in BY_HAND.items()
    }
    return by_hand | {OURS: lambda seed: _ours(workload, epochs, seed)}


def build(workload: Workload, epochs: int, seed: int) -> TrainingSetup:
    """A task of its own."""
    preset = workload.preset_for(f"training.epochs={epochs}", f"training.seed={seed}")
    torch.set_num_threads(workload.threads)
    return build_setup(preset, torch.device(workload.device), lambda phase: None)


def tensors(setup: TrainingSetup) -> tuple[Tensor, Tensor]:
    """The training part as the model sees it, on the CPU: inputs (N, ...) and targets (N,)."""
    batches = [(inputs.cpu(), targets.cpu()) for inputs, targets in setup.data.train.epoch(0)]
    return torch.cat([inputs for inputs, _ in batches]), torch.cat([targets for _, targets in batches])


def optimizer_by_hand(workload: Workload, model: nn.Module, **more: Any) -> Optimizer:
    """The preset's optimizer as one writes it oneself, with torch's own defaults."""
    config = workload.preset_for().optimizer
    arguments = {**config.arguments, **more}
    made: Optimizer = getattr(torch.optim, config.name)(model.parameters(), **arguments)
    return made


def _by_hand(
    workload: Workload, epochs: int, seed: int, loop: Callable[..., list[float]], more: dict[str, Any]
) -> Trained:
    setup = build(workload, epochs, seed)
    inputs, targets = tensors(setup)
    optimizer = optimizer_by_hand(workload, setup.model, **more)
    size = setup.preset.data.batch_size
    begin = time.perf_counter()
    losses = loop(_cast(setup), setup.loss_fn, optimizer, inputs, targets, size, epochs, workload.device)
    seconds = time.perf_counter() - begin
    return Trained(seconds, epochs * len(inputs), epochs * setup.steps_per_epoch, losses)


class _Autocast(nn.Module):
    """A model whose forward pass is computed in the task's mixed precision."""

    def __init__(self, setup: TrainingSetup) -> None:
        super().__init__()
        self.model, self._autocast = setup.model, setup.precision.autocast

    def forward(self, inputs: Tensor) -> Tensor:
        with self._autocast:
            output: Tensor = self.model(inputs)
        return output.float()


def _cast(setup: TrainingSetup) -> nn.Module:
    """The model, for loops by hand to compute in the precision that ours does."""
    return _Autocast(setup) if setup.precision.name in AUTOCAST else setup.model


class _Ear:
    """Hears when the first epoch begins and when each ends, and with which loss."""

    def __init__(self) -> None:
        self.begin = self.end = 0.0
        self.losses: list[float] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.begin = time.perf_counter()
        elif isinstance(event, EpochCompleted):
            self.end = time.perf_counter()
            self.losses.append(event.metrics["train/loss"] or float("nan"))

    def log(self, point: MetricsPoint) -> None: ...


def _ours(workload: Workload, epochs: int, seed: int) -> Trained:
    setup, ear = build(workload, epochs, seed), _Ear()
    settle_layout(setup, first_batch(setup))
    with tempfile.TemporaryDirectory() as folder:
        saver = AsyncCheckpointWriter(Path(folder), keep=1, emit=ear.emit)
        saver.start()
        outcome = Trainer(setup, StateKeeper(setup, saver), CommandQueue(), ear).run()
    samples = epochs * setup.data.train.samples_per_epoch
    return Trained(ear.end - ear.begin, samples, outcome.step or 0, ear.losses)
