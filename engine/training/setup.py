"""Everything that a training loop trains: data, model, loss, optimizer and learning rate, from a preset."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from torchconsole.engine.components.data import DataModule, load_data
from torchconsole.engine.components.devices import set_current_device
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.losses import Penalty, build_loss
from torchconsole.engine.components.metrics import MetricSet, build_metrics
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.optimizers import build_optimizer, with_implementation
from torchconsole.engine.components.parameters import freeze
from torchconsole.engine.config.schema import Preset, TrainingConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.text import did_you_mean
from torchconsole.engine.training.ema import WeightAverage
from torchconsole.engine.training.learning_rate import LearningRate
from torchconsole.engine.training.precision import Precision, choose_precision
from torchconsole.engine.training.randomness import require_determinism, seed_everything

AVERAGED = "val/ema_"
"""What the metrics of the averaged weights begin with."""


@dataclass
class TrainingSetup:
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
    precision: Precision
    ema: WeightAverage | None

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the training data."""
        return _steps_per_epoch(self.preset.training, self.data.train.batches_per_epoch)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run, where nothing ends it early."""
        training = self.preset.training
        return min(training.epochs * self.steps_per_epoch, training.max_steps or sys.maxsize)

    @property
    def total_epochs(self) -> int:
        """Epochs begun by then."""
        return math.ceil(self.total_steps / self.steps_per_epoch)

    @property
    def log_every(self) -> int:
        """Steps between logged metrics."""
        return self.preset.training.log_every or max(1, self.steps_per_epoch // 100)


def build_setup(preset: Preset, device: torch.device, report: ReportPhase) -> TrainingSetup:
    """Build all that `preset` names, seeded, on `device`; `report` receives each slow phase.

    Raises ComponentError and DataError, which name the key to mend, and TrustError.
    """
    own = UserCode()
    training = preset.training
    set_current_device(device)
    seed_everything(training.seed)
    require_determinism(training.deterministic)
    precision = choose_precision(training.precision, device)
    data = load_data(preset.data, training, device, report, own)
    report(PhaseChanged(phase="building the model"))
    model = build_model(preset.model, data.spec, own, report).to(device)
    preset = _with_layout(preset, device)
    if preset.training.channels_last:
        convert_conv2d_weight_memory_format(model, torch.channels_last)
    freeze(model, preset.model.freeze)
    loss = preset.loss
    chosen = with_implementation(preset.optimizer, model)
    preset = preset.model_copy(update={"optimizer": chosen})
    optimizer, learning_rate = build_optimization(preset, model, data.train.batches_per_epoch, own)
    metrics = build_metrics(preset.metrics, data.spec, device, own)
    names = ["val/loss", *metrics.names(device)]
    averaged = [name.replace("val/", AVERAGED, 1) for name in names] if preset.ema else []
    _check_monitors(preset, names + averaged)
    preset = _with_mode(preset, metrics)
    average = WeightAverage(model, preset.ema.decay) if preset.ema else None
    if training.compile:
        # Shape by shape, so that a resumed run computes with the same code as one never stopped.
        model.compile(dynamic=False)
    return TrainingSetup(
        preset=preset,
        device=device,
        data=data,
        model=model,
        loss_fn=build_loss(loss, data.spec, data.class_counts, own).to(device),
        penalty=Penalty(model, loss.l1, loss.l2) if loss.l1 or loss.l2 else None,
        optimizer=optimizer,
        learning_rate=learning_rate,
        metrics=metrics,
        precision=precision,
        ema=average,
    )


def _with_layout(preset: Preset, device: torch.device) -> Preset:
    """With `training.channels_last` decided where the model is compiled: code is made for one layout.

    CUDA's kernels are made for channels last; on the CPU the compiler lays out by itself.
    """
    training = preset.training
    if training.channels_last is not None or not training.compile:
        return preset
    decided = training.model_copy(update={"channels_last": device.type == "cuda"})
    return preset.model_copy(update={"training": decided})


def build_optimization(
    preset: Preset, model: nn.Module, batches_per_epoch: int, own: UserCode
) -> tuple[torch.optim.Optimizer, LearningRate]:
    """The optimizer of what `model` trains, and its learning rate over the run.

    Raises ComponentError, which names the key to mend, and TrustError.
    """
    training = preset.training
    later = preset.model.unfreeze_at_epoch is not None
    optimizer = build_optimizer(preset.optimizer, model, own, with_frozen=later)
    steps_per_epoch = _steps_per_epoch(training, batches_per_epoch)
    return optimizer, LearningRate(
        optimizer, preset.schedule, training.epochs, steps_per_epoch, own, training.max_steps
    )


def _steps_per_epoch(training: TrainingConfig, batches_per_epoch: int) -> int:
    """A last group of batches that is not full makes a step too."""
    return math.ceil(batches_per_epoch / training.grad_accum_steps)


def _with_mode(preset: Preset, metrics: MetricSet) -> Preset:
    """The preset with the direction of the monitored metric filled in, where it leaves that open."""
    stopping = preset.early_stopping
    if stopping is None or stopping.mode is not None:
        return preset
    higher = metrics.higher_is_better(stopping.monitor.replace(AVERAGED, "val/", 1))
    decided = stopping.model_copy(update={"mode": "max" if higher else "min"})
    return preset.model_copy(update={"early_stopping": decided})


def _check_monitors(preset: Preset, known: list[str]) -> None:
    """See that what is monitored is a metric of each evaluation. Raises ComponentError."""
    monitors = {f"schedule.{number}": part.monitor for number, part in enumerate(preset.schedule)}
    if preset.early_stopping is not None:
        monitors["early_stopping"] = preset.early_stopping.monitor
    for section, monitor in monitors.items():
        if monitor not in known:
            raise ComponentError(
                f"{section}.monitor: no evaluation gives {monitor!r}{did_you_mean(monitor, known)}"
            )
