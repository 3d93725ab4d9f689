"""Everything that a training loop trains: data, model, loss, optimizer and learning rate, from a preset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from torchconsole.engine.components.data import DataSet, load_data
from torchconsole.engine.components.losses import build_loss
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.optimizers import build_optimizer
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.training.learning_rate import LearningRate
from torchconsole.engine.training.randomness import seed_everything

EVAL_BATCH_FACTOR = 8
"""Evaluation keeps no activations for a backward pass, so its batches may be this much larger."""


@dataclass
class Task:
    """What is trained, on its device."""

    preset: Preset
    device: torch.device
    data: DataSet
    model: nn.Module
    loss_fn: nn.Module
    optimizer: torch.optim.Optimizer
    learning_rate: LearningRate

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the training data, the short last batch included."""
        return self.data.train.batches(self.preset.data.batch_size)

    @property
    def eval_batch_size(self) -> int:
        """Samples per evaluation batch."""
        return self.preset.data.eval_batch_size or EVAL_BATCH_FACTOR * self.preset.data.batch_size

    @property
    def log_every(self) -> int:
        """Steps between logged metrics."""
        return self.preset.training.log_every or max(1, self.steps_per_epoch // 100)


def build_task(preset: Preset, device: torch.device, say: Callable[[str], None]) -> Task:
    """Build all that `preset` names, seeded, on `device`; `say` is told each slow phase.

    Raises ComponentError and DataError, which name the key to mend.
    """
    seed_everything(preset.training.seed)
    say("loading data")
    data = load_data(preset.data, preset.training.seed).to(device)
    say("building the model")
    model = build_model(preset.model, data.input_shape, data.num_classes).to(device)
    optimizer = build_optimizer(preset.optimizer, model)
    steps_per_epoch = data.train.batches(preset.data.batch_size)
    learning_rate = LearningRate(optimizer, preset.schedule, preset.training.epochs, steps_per_epoch)
    return Task(preset, device, data, model, build_loss(preset.loss).to(device), optimizer, learning_rate)
