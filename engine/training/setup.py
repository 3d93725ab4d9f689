"""Everything that a training loop trains: the parts, tried on a batch, with optimizer, lr and EMA."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.losses import Loss, user_part
from torchconsole.engine.components.optimizers import build_optimizer
from torchconsole.engine.components.penalty import Penalty, build_penalty
from torchconsole.engine.config.schema import DistributedConfig, OptimizerConfig, Preset
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase, RunStarted
from torchconsole.engine.protocol.info import ModelSummary
from torchconsole.engine.training.compile_cache import use_private_compile_cache
from torchconsole.engine.training.ema import WeightAverage
from torchconsole.engine.training.learning_rate import LearningRate
from torchconsole.engine.training.parts import TrainingParts, steps_per_epoch
from torchconsole.engine.training.probe import PartsProbe, warning_of_slow_compilation
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.resolve import ResolvedPreset, resolve
from torchconsole.engine.training.trial import Batch, first_batch, try_batch

log = logging.getLogger(__name__)


@dataclass
class TrainingSetup(TrainingParts):
    """What is trained, on its device, with a preset that leaves nothing open."""

    preset: ResolvedPreset
    penalty: Penalty | None
    optimizer: torch.optim.Optimizer
    learning_rate: LearningRate
    ema: WeightAverage | None
    first_loss: float | None = None
    """The loss of the first batch in the first pass; None if later passes cannot be compared with it."""
    summary: ModelSummary | None = None
    """The layer table as it was at the start."""
    settings_changed: int = 0
    """How often a command has changed `preset`: it is counted before."""
    changing: set[str] = field(default_factory=set)
    """Paths of the plain values of user code that the dry run has seen to be state."""

    @property
    def state_roots(self) -> dict[str, object]:
        """Where user code may keep state of its own, by its name in messages."""
        losses = list(self.loss_fn.losses) if isinstance(self.loss_fn, Loss) else [self.loss_fn]
        names = ["loss"] if len(losses) == 1 else [f"loss.{number}" for number in range(len(losses))]
        return {
            "model": self.model,
            **dict(zip(names, (user_part(loss) for loss in losses), strict=True)),
            "optimizer": self.optimizer,
            **({"ema": self.ema.module} if self.ema else {}),
            **{f"metrics.{key}": metric for key, metric in self.metrics.by_key.items()},
        }

    @property
    def effective_batch(self) -> int:
        """Samples of an optimizer step, over all processes."""
        return self.preset.data.batch_size * self.preset.training.grad_accum_steps * self.ranks.size

    @property
    def shards(self) -> bool:
        """Whether each of several processes is going to hold only a part of every weight."""
        return self.preset.distributed.strategy == "fsdp" and not self.ranks.is_alone

    @property
    def log_every(self) -> int:
        """Steps between logged metrics."""
        log_every = self.preset.training.log_every
        assert log_every is not None, "`resolve` decides it"
        return log_every

    def started(self, progress: Progress) -> RunStarted:
        """Return the event that the training begins, or continues, after these steps."""
        return RunStarted(
            step=progress.step,
            epoch=progress.epoch,
            steps_per_epoch=self.steps_per_epoch,
            total_epochs=self.total_epochs,
            total_steps=self.total_steps,
            lr_scale=self.learning_rate.scale,
            lr_held=self.learning_rate.held,
            loss_unit=self.data.spec.loss_unit,
            processes=self.ranks.size,
            batch_size=self.effective_batch,
        )

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run if nothing ends it early."""
        training = self.preset.training
        return min(training.epochs * self.steps_per_epoch, training.max_steps or sys.maxsize)

    @property
    def total_epochs(self) -> int:
        """Epochs started by then."""
        return math.ceil(self.total_steps / self.steps_per_epoch)


def build_setup(parts: TrainingParts, report: ReportPhase, batch: Batch | None = None) -> TrainingSetup:
    """Try `parts` on the first batch, resolve their preset, and build what is missing for training.

    `batch` is the first batch if the caller has read it already.

    Raises ComponentError and DataError, which name the key to change, and TrustError.
    """
    # Before any forward pass: a tensor that a pass leaves on the model cannot be copied.
    ema = WeightAverage(parts.model, parts.preset.ema.decay) if parts.preset.ema else None
    report(PhaseChanged(phase="dry run"))
    if batch is None:
        batch = first_batch(parts)
    first_loss = _first_loss(parts, batch)
    probe = PartsProbe(parts, batch)
    preset = resolve(parts.preset, probe, from_checkpoint=parts.from_checkpoint)
    if parts.data.one_by_one is not None and preset.data.num_workers != "auto":
        parts.data.one_by_one.use_workers(preset.data.num_workers)
    setup = _assemble(parts, preset, ema)
    if preset.training.channels_last:  # dropout draws in the order of memory
        first_loss = try_batch(setup, batch)
    if preset.training.compile:
        report(PhaseChanged(phase="compiling"))
        use_private_compile_cache()
        # Shape by shape, so that a resumed run computes with the same code as one that was never stopped.
        setup.model.compile(dynamic=False)
        first_loss = try_batch(setup, batch)
        if warning := warning_of_slow_compilation(setup, batch):
            log.warning(warning)
    setup.first_loss = first_loss
    return setup


def _first_loss(parts: TrainingParts, batch: Batch) -> float | None:
    """Try `batch`. Return its loss, or None if the model has built layers, which draw random numbers."""
    before = len(list(parts.model.parameters()))
    loss = try_batch(parts, batch)
    return loss if len(list(parts.model.parameters())) == before else None


def _assemble(parts: TrainingParts, preset: ResolvedPreset, ema: WeightAverage | None) -> TrainingSetup:
    """Build the rest as `preset` has it."""
    training, model = preset.training, parts.model
    if training.threads != "auto":
        torch.set_num_threads(training.threads)
    if training.channels_last:
        for module in (model, *([ema.module] if ema else [])):
            convert_conv2d_weight_memory_format(module, torch.channels_last)
    batches = parts.data.train.batches_per_epoch
    optimizer, learning_rate = build_optimization(preset, model, batches, parts.user_code, parts.ranks.size)
    return TrainingSetup(
        **{**vars(parts), "preset": preset},
        penalty=build_penalty(model, preset.loss),
        optimizer=optimizer,
        learning_rate=learning_rate,
        ema=ema,
    )


def build_optimization(
    preset: Preset, model: nn.Module, batches_per_epoch: int, user_code: UserCode, processes: int = 1
) -> tuple[torch.optim.Optimizer, LearningRate]:
    """Build the optimizer over what `model` trains, and its learning rate over the run.

    With several processes, `distributed.lr_scaling` applies.

    Raises ComponentError, which names the key to change, and TrustError.
    """
    training = preset.training
    unfreezes = preset.model.unfreeze_at_epoch is not None
    config = _scaled(preset.optimizer, lr_factor(preset.distributed, processes))
    optimizer = build_optimizer(config, model, user_code, with_frozen=unfreezes)
    steps = steps_per_epoch(training, batches_per_epoch)
    return optimizer, LearningRate(
        optimizer, preset.schedule, training.epochs, steps, user_code, training.max_steps
    )


def lr_factor(config: DistributedConfig, processes: int) -> float:
    """Return what `distributed.lr_scaling` multiplies the lr by."""
    if config.lr_scaling == "none":
        return 1.0
    return float(processes) if config.lr_scaling == "linear" else math.sqrt(processes)


def _scaled(config: OptimizerConfig, factor: float) -> OptimizerConfig:
    """Return the optimizer with the lr of each group times `factor`."""
    if factor == 1:
        return config
    groups = [
        group if group.lr is None else group.model_copy(update={"lr": group.lr * factor})
        for group in config.groups
    ]
    return config.model_copy(update={"lr": config.lr * factor, "groups": groups})
