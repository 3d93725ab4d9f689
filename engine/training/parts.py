"""The parts of a training that a forward and backward pass needs: data, model, loss and precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from torchconsole.engine.components.data import DataModule, load_data
from torchconsole.engine.components.data.data_record import DataRecord
from torchconsole.engine.components.data.target_scaling import data_config_for
from torchconsole.engine.components.devices import set_current_device
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.losses import Loss, build_loss
from torchconsole.engine.components.metric_set import MetricSet
from torchconsole.engine.components.metrics import build_metrics
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.models.placement import check_processes, place_model
from torchconsole.engine.components.models.weights import is_file_name
from torchconsole.engine.components.parameters import freeze
from torchconsole.engine.components.ranks import ALONE, Ranks
from torchconsole.engine.config.schema import DistributedConfig, ModelConfig, Preset, TrainingConfig
from torchconsole.engine.config.together import require_trainable_together
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.text import did_you_mean
from torchconsole.engine.training.elements import separate_buffers
from torchconsole.engine.training.precision import Precision, choose_precision
from torchconsole.engine.training.randomness import require_determinism, seed_everything

EMA_PREFIX = "val/ema_"
"""Prefix of the metrics of the averaged weights."""


@dataclass
class TrainingParts:
    """What a preset names, built on its device; enough for a forward and backward pass or an evaluation."""

    preset: Preset
    device: torch.device
    data: DataModule
    model: nn.Module
    loss_fn: Loss
    metrics: MetricSet
    precision: Precision
    user_code: UserCode
    from_checkpoint: bool
    """Whether the weights are going to be those of a checkpoint."""
    ranks: Ranks
    """The processes that train together."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training data."""
        return steps_per_epoch(self.preset.training, self.data.train.batches_per_epoch)


def build_parts(
    preset: Preset,
    device: torch.device,
    report: ReportPhase,
    *,
    from_checkpoint: bool = False,
    record: DataRecord | None = None,
    ranks: Ranks = ALONE,
) -> TrainingParts:
    """Build data, model, loss and metrics on `device`, seeded; `report` receives each slow phase.

    With `from_checkpoint` the file of `model.weights` is not read: it may be gone, and a checkpoint has the
    weights. With the `record` of a run, classes and columns are found by the names they had then. Raises
    ComponentError and DataError, which name the key to change, and TrustError.
    """
    user_code = UserCode.of(preset)
    training = preset.training
    if training.threads != "auto":
        torch.set_num_threads(training.threads)
    if not ranks.is_alone:
        require_trainable_together(preset, on_cpu=device.type == "cpu")
    set_current_device(device)
    seed_everything(training.seed)
    require_determinism(training.deterministic)
    precision = choose_precision(training.precision, device)
    data = load_data(data_config_for(preset), training, device, report, user_code, record, ranks)
    report(PhaseChanged(phase="building the model"))
    config = without_weights_file(preset.model) if from_checkpoint else preset.model
    model = build_model(config, data.spec, user_code, report)
    model = place_model(_with_shared_statistics(model, preset.distributed, ranks), config.device_map, device)
    check_processes(model, config.device_map, ranks)
    separate_buffers(model)
    if training.channels_last:
        convert_conv2d_weight_memory_format(model, torch.channels_last)
    freeze(model, preset.model.freeze)
    loss_fn = build_loss(preset.loss, data.spec, data.class_counts, user_code).to(device)
    metrics = build_metrics(preset.metrics, data.spec, loss_fn.outputs, device, user_code)
    return TrainingParts(
        preset=preset,
        device=device,
        data=data,
        model=model,
        loss_fn=loss_fn,
        metrics=metrics,
        precision=precision,
        user_code=user_code,
        from_checkpoint=from_checkpoint,
        ranks=ranks,
    )


def _with_shared_statistics(model: nn.Module, config: DistributedConfig, ranks: Ranks) -> nn.Module:
    """Have batch normalization use the samples of all processes, if the preset says so."""
    if ranks.is_alone or not config.sync_batchnorm:
        return model
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


def steps_per_epoch(training: TrainingConfig, batches_per_epoch: int) -> int:
    """Return the optimizer steps of an epoch; a last group of batches that is not full makes a step too."""
    return math.ceil(batches_per_epoch / training.grad_accum_steps)


def without_weights_file(config: ModelConfig) -> ModelConfig:
    """Return the model without a file of weights, which may be gone."""
    if config.weights is None or not is_file_name(config.weights):
        return config
    return config.model_copy(update={"weights": None, "rename": {}})


def check_monitors(preset: Preset, names: list[str]) -> None:
    """Check that each monitored metric is one of `names`, those of an evaluation. Raises ComponentError."""
    averaged = [name.replace("val/", EMA_PREFIX, 1) for name in names] if preset.ema else []
    monitors = {
        f"schedule.{number}{key}": member.monitor
        for number, part in enumerate(preset.schedule)
        for key, member in part.members.items()
    }
    if preset.early_stopping is not None:
        monitors["early_stopping"] = preset.early_stopping.monitor
    for section, monitor in monitors.items():
        if monitor not in (known := names + averaged):
            raise ComponentError(
                f"{section}.monitor: no evaluation gives {monitor!r}{did_you_mean(monitor, known)}"
            )
