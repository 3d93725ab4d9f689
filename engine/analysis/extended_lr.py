"""The lr that a run would have from its newest checkpoint on if it were resumed with changes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.ranks import planned_ranks
from torchconsole.engine.components.shards import nothing
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.protocol.reports import LearningRateCurve
from torchconsole.engine.training.checkpoint import newest_valid
from torchconsole.engine.training.lr_forecast import describe_units, forecast_lr
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.setup import build_optimization


def extended_lr(
    preset: Preset, model: nn.Module, batches_per_epoch: int, checkpoints: Path, user_code: UserCode
) -> LearningRateCurve:
    """Compute the lr of each parameter group at some hundreds of the steps that are left.

    As in a resume, the state of the schedule comes from the checkpoint, and a scale or a hold by hand stays.
    Raises ComponentError and CheckpointError, as a resume does.
    """
    _, learning_rate = build_optimization(
        preset, model, batches_per_epoch, user_code, planned_ranks(preset.distributed).size
    )
    _, saved, _ = newest_valid(checkpoints, nothing)
    progress = Progress()
    try:
        learning_rate.load_state_dict(saved["learning_rate"])
        progress.load_state_dict(saved["progress"])
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{checkpoints}: the newest checkpoint does not fit the preset: {error}"
        ) from error
    schedule = learning_rate.copy_schedule()
    done = progress.batch // preset.training.grad_accum_steps
    ahead = forecast_lr(schedule, progress.step, done)
    lrs = torch.as_tensor(ahead.lrs) * learning_rate.scale
    if learning_rate.held is not None:
        lrs = torch.full_like(lrs, learning_rate.held)
    return LearningRateCurve(
        steps_per_epoch=schedule.steps_per_epoch,
        total_steps=schedule.total_steps,
        steps=ahead.steps.tolist(),
        lrs=lrs.tolist(),
        metric=ahead.metric,
        unit=describe_units(schedule.parts),
    )
