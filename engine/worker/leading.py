"""The leader's half of a training by several processes: the plan, the common start, and what it reports."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torchconsole.engine.analysis.start_check import CheckedSetup
from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.config.loading import dump_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.run.trained_batch import named_processes
from torchconsole.engine.training.checkpoint import read_batch
from torchconsole.engine.training.setup import TrainingSetup, lr_factor
from torchconsole.engine.training.train_state import TrainState

if TYPE_CHECKING:
    from torchconsole.engine.distributed.job import Job

log = logging.getLogger(__name__)


def lead(job: Job, checked: CheckedSetup, state: TrainState, run: Path, report: ReportPhase) -> None:
    """Have the other processes prepare the same training, and start together. Raises TrainingError."""
    from torchconsole.engine.distributed.job import Plan

    setup = checked.setup
    _report(setup)
    finds_unused = any(norm is None for norm in checked.dry_run.gradients.values())
    report(PhaseChanged(phase="waiting for other processes", subject=f"{job.size - 1} of {job.size}"))
    preset, record = dump_preset(setup.preset), setup.data.record
    job.publish(Plan(preset=preset, record=record, finds_unused=finds_unused, run=str(run)))
    start_together(job, setup, state)


def start_together(job: Job, setup: TrainingSetup, state: TrainState) -> None:
    """Give all processes the leader's state, and shard it if the preset says so. Raises ComponentError."""
    config = setup.preset.distributed
    is_sharded = config.strategy == "fsdp"
    job.form(setup.device, config.timeout, saves_together=is_sharded)
    if is_sharded:
        from torchconsole.engine.distributed.sharding import shard_training

        shard_training(job, setup, state)
    elif job.leads:
        job.share_state(state.state_dict())
    else:
        state.load_state_dict(job.share_state(None))


def _report(setup: TrainingSetup) -> None:
    preset, processes = setup.preset, setup.ranks.size
    steps = preset.training.grad_accum_steps
    accumulated = f" x {steps} (training.grad_accum_steps)" if steps > 1 else ""
    log.info(
        "%d processes train together: %s samples a step = %d x %d (data.batch_size)%s",
        processes,
        f"{setup.effective_batch:,}",
        processes,
        preset.data.batch_size,
        accumulated,
    )
    if (factor := lr_factor(preset.distributed, processes)) != 1:
        log.info(
            "lr %.4g = %.4g (optimizer.lr) x %.4g (distributed.lr_scaling = %s)",
            preset.optimizer.lr * factor,
            preset.optimizer.lr,
            factor,
            preset.distributed.lr_scaling,
        )


def by_processes(preset: Preset, ranks: Ranks) -> Preset:
    """Return the preset with the number of processes of this machine, so that as many resume it."""
    return preset.model_copy(
        update={"distributed": preset.distributed.model_copy(update={"processes": ranks.local_size})}
    )


def fit_batch_size(preset: Preset, checkpoints: Sequence[Path], processes: int) -> Preset:
    """Return the preset of a run that another number of processes resumes, with as many samples in a step.

    The newest checkpoint says how many these are. The preset may have been changed by a resume that has ended
    before its first save. Raises RunError if they cannot be divided.
    """
    saved = next(filter(None, map(read_batch, checkpoints)), None)
    if saved is None:
        return preset
    size, before = saved.divided(preset, processes), saved.processes
    if before != processes:
        log.warning(
            "not bit-exact: the run was trained by %s, and is resumed by %s; data.batch_size %d -> %d keeps "
            "the %d samples of all",
            named_processes(before),
            named_processes(processes),
            saved.size,
            size,
            saved.size * before,
        )
    elif size != preset.data.batch_size:
        log.warning(
            "data.batch_size %d -> %d, as in the run's newest checkpoint", preset.data.batch_size, size
        )
    return preset.model_copy(update={"data": preset.data.model_copy(update={"batch_size": size})})
