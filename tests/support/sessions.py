"""A trainer on a small preset with a recording event queue, for the tests of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.protocol.events import Event
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_handler import answer_saves
from torchconsole.engine.training.command_queue import CommandQueue
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


class Session:
    """A trainer on the CPU with everything that it needs."""

    def __init__(self, checkpoints: Path, overrides: Sequence[str] = (), preset: str = "digits-mlp") -> None:
        config = load_preset(preset, ["training.log_every=1", *overrides])
        self.checkpoints = checkpoints
        self.event_queue = RecordingEventQueue()
        self.commands = CommandQueue()
        self.setup: TrainingSetup = build_setup(config, torch.device("cpu"), lambda phase: None)
        emit = self.event_queue.emit
        writer = AsyncCheckpointWriter(checkpoints, config.checkpoint.keep, emit, answer=answer_saves(emit))
        writer.start()
        self.state = TrainState(self.setup)
        self.manager = CheckpointManager(self.setup, self.state, writer)
        self.trainer = Trainer(self.setup, self.state, self.manager, self.commands, self.event_queue)
