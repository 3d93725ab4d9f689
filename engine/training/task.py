"""Everything that a training loop trains: data, model, loss, optimizer and learning rate, from a preset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from torchconsole.engine.components.data import DataModule, load_data
from torchconsole.engine.components.freezing import freeze
from torchconsole.engine.components.instantiate import hint
from torchconsole.engine.components.losses import Penalty, build_loss
from torchconsole.engine.components.metrics import MetricSet, build_metrics
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.optimizers import build_optimizer
from torchconsole.engine.components.own_code import OwnCode
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.training.learning_rate import LearningRate
from torchconsole.engine.training.randomness import seed_everything


@dataclass
class Task:
    """What is trained, on its device."""

    preset: Preset
    device: torch.device
    data: DataModule
    model: nn.Module
    loss_fn: nn.Module
    penalty: Penalty | None
    optimizer: torch.optim.Optimizer
    learning_rate: LearningRate
    metrics: MetricSet

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the training data."""
        return self.data.train.steps_per_epoch

    @property
    def log_every(self) -> int:
        """Steps between logged metrics."""
        return self.preset.training.log_every or max(1, self.steps_per_epoch // 100)


def build_task(preset: Preset, device: torch.device, say: Callable[[str], None]) -> Task:
    """Build all that `preset` names, seeded, on `device`; `say` is told each slow phase.

    Raises ComponentError and DataError, which name the key to mend, and TrustError.
    """
    own = OwnCode()
    seed_everything(preset.training.seed)
    say("loading data")
    data = load_data(preset.data, preset.training, device, say, own)
    say("building the model")
    model = build_model(preset.model, data.spec, own, say).to(device)
    freeze(model, preset.model.freeze)
    loss = preset.loss
    optimizer = build_optimizer(
        preset.optimizer, model, own, later=preset.model.unfreeze_at_epoch is not None
    )
    metrics = build_metrics(preset.metrics, data.spec, device, own)
    _check_monitors(preset, ["val/loss", *metrics.names(device)])
    return Task(
        preset=preset,
        device=device,
        data=data,
        model=model,
        loss_fn=build_loss(loss, data.spec, data.class_counts, own).to(device),
        penalty=Penalty(model, loss.l1, loss.l2) if loss.l1 or loss.l2 else None,
        optimizer=optimizer,
        learning_rate=LearningRate(
            optimizer, preset.schedule, preset.training.epochs, data.train.steps_per_epoch, own
        ),
        metrics=metrics,
    )


def _check_monitors(preset: Preset, known: list[str]) -> None:
    """See that what is monitored is a metric of each evaluation. Raises ComponentError."""
    monitors = {f"schedule.{number}": part.monitor for number, part in enumerate(preset.schedule)}
    if preset.early_stopping is not None:
        monitors["early_stopping"] = preset.early_stopping.monitor
    for section, monitor in monitors.items():
        if monitor not in known:
            raise ComponentError(f"{section}.monitor: no evaluation gives {monitor!r}{hint(monitor, known)}")
