"""What a preset leaves to the engine, decided in one place, once, before the first step.

A run records the result in its preset.toml, so that a resume decides nothing anew. No clock decides what a
run computes to the last bit, except for the number of CPU threads, which a deterministic run keeps.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from typing import Literal, NewType, Protocol

from torchconsole.engine.components.data.memory_budget import InMemory
from torchconsole.engine.components.data.one_by_one import WorkerLimit
from torchconsole.engine.components.data.types import TextRecord
from torchconsole.engine.config.data_schema import DataConfig, NormalizeConfig, TargetScaleConfig
from torchconsole.engine.config.schema import EarlyStoppingConfig, Preset, ScheduleConfig, TrainingConfig
from torchconsole.engine.training.precision import Format

log = logging.getLogger(__name__)

ResolvedPreset = NewType("ResolvedPreset", Preset)
"""A preset that leaves nothing to the engine; made by `resolve` alone."""

WAITING = 0.2
"""Fraction of a step: if loading a batch takes longer, data loader workers are worth the cores they take."""

LONG_STEP = 1.0
"""Seconds of a forward and backward pass from which on fewer CPU threads are not tried.

Far more than small nets need: on a busy machine it is they that take so long, and gain most from fewer.
"""

GAIN = 1.1
"""Twice the threads must make a step this many times as fast to be used."""


class Probe(Protocol):
    """Facts about machine, data and model that decide what a preset leaves open; measured when asked for."""

    @property
    def device_type(self) -> str:
        """Type of the device that trains: "cpu", "cuda" ..."""

    @property
    def precision(self) -> Format:
        """The format that `training.precision` selected on this device."""

    @property
    def in_memory(self) -> InMemory:
        """What `decide_in_memory` returned for the data."""

    @property
    def measured(self) -> NormalizeConfig | None:
        """What `data.normalize = "auto"` measured; None if nothing was measured."""

    @property
    def texts(self) -> TextRecord | None:
        """How texts became tokens; None for other data."""

    @property
    def most_workers(self) -> WorkerLimit | None:
        """The most data loader workers this machine has room for; None if all samples are in memory."""

    def load_seconds(self) -> float:
        """Seconds that this process takes to load a batch."""

    @property
    def target_scale(self) -> TargetScaleConfig | Literal[False]:
        """What the targets were standardized with; False if they were not."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training data."""

    @property
    def threads(self) -> int:
        """CPU threads that torch uses now."""

    def takes_fused(self) -> bool:
        """Whether torch has a fused form of the optimizer for this model, and the preset leaves that open."""

    def higher_is_better(self, monitor: str) -> bool:
        """Whether a higher value of this metric is better."""

    def complete_schedule(self, parts: Sequence[ScheduleConfig]) -> list[ScheduleConfig]:
        """Return the parts with what they leave open: their intervals, and modes by the metrics."""

    def takes_channels_last(self) -> bool:
        """Whether the model has convolutions and trains with channels last in memory; left so if it does."""

    def step_seconds(self, threads: int) -> float:
        """Seconds of a forward and backward pass with so many CPU threads."""


def resolve(preset: Preset, probe: Probe, *, from_checkpoint: bool = False) -> ResolvedPreset:
    """Decide everything that `preset` leaves open. What it states stays as it is.

    With `from_checkpoint`, what the run did not record stays open: an optimizer that is not fused, since the
    bits of the weights depend on it, and the mean and std of the inputs.
    """
    training, optimizer, stopping = preset.training, preset.optimizer, preset.early_stopping
    channels_last = _channels_last(training, probe, is_sharded=preset.distributed.strategy == "fsdp")
    threads = _threads(training, probe)
    decided = {
        "channels_last": channels_last,
        "threads": threads,
        "log_every": training.log_every or usual_log_every(probe.steps_per_epoch),
        "precision": probe.precision,
    }
    num_workers = _num_workers(preset.data, threads, probe)
    data: dict[str, object] = {
        "in_memory": probe.in_memory,
        "num_workers": num_workers,
        "scale_target": probe.target_scale,
    }
    if preset.data.normalize == "auto" and probe.measured is not None and not from_checkpoint:
        # Measured again on a resume they could differ: in memory all samples are measured, else some of them.
        data["normalize"] = probe.measured
    if probe.texts is not None:
        # Files that were added since would give another vocabulary, and tokens another meaning.
        data |= {"vocabulary": probe.texts.vocabulary, "max_length": probe.texts.max_length}
    if not from_checkpoint and probe.takes_fused():
        optimizer = optimizer.model_copy(update={"fused": True})
    if stopping is not None and stopping.mode is None:
        stopping = stopping.model_copy(update={"mode": _mode(stopping, probe)})
    update = {
        "training": training.model_copy(update=decided),
        "data": preset.data.model_copy(update=data),
        "optimizer": optimizer,
        "early_stopping": stopping,
        "schedule": probe.complete_schedule(preset.schedule),
    }
    return ResolvedPreset(preset.model_copy(update=update))


def usual_log_every(steps_per_epoch: int) -> int:
    """Return the steps between two logged lines where a preset leaves that open: a hundredth of an epoch."""
    return max(1, steps_per_epoch // 100)


def _channels_last(training: TrainingConfig, probe: Probe, *, is_sharded: bool) -> bool:
    """Decide the memory format of convolutions.

    torch computes with the format of a convolution's weights, and the layers behind it follow; only dropout
    then falls on other elements. CUDA's kernels are made for channels last, and those of the CPU are up to
    half as fast again with them; small images in small batches through wide layers take up to a quarter
    longer. Compiled code is made for one format, and on the CPU the compiler chooses its own.
    """
    if training.channels_last is not None:
        return training.channels_last
    if is_sharded:  # torch shards contiguous weights only
        return False
    if training.compile:
        return probe.device_type == "cuda"
    chosen = probe.takes_channels_last()
    if chosen:
        log.info("convolutions use the channels-last memory format (training.channels_last)")
    return chosen


def _threads(training: TrainingConfig, probe: Probe) -> int:
    """Decide how many CPU threads torch computes with: the fewest that are as fast as all.

    What the training leaves is there for the console, the data loader and whoever else works on the machine.
    More threads wait for each other at the end of each operation, for a thousand times as long on a busy
    machine. All stay in use for other devices than the CPU, for compiled code, which is made for a number of
    threads, and for a deterministic run: sums depend on it.
    """
    if training.threads != "auto":
        return training.threads
    threads = everything = probe.threads
    if probe.device_type != "cpu" or training.compile or training.deterministic or everything == 1:
        return everything
    seconds = {threads: probe.step_seconds(threads)}
    while threads > 1 and seconds[threads] < LONG_STEP:
        fewer = threads // 2
        seconds[fewer] = probe.step_seconds(fewer)
        if seconds[fewer] > GAIN * seconds[threads]:
            break
        threads = fewer
    if threads < everything:
        step, with_all = milliseconds(seconds[threads]), milliseconds(seconds[everything])
        log.info("using %d of %d CPU threads: %s a step (%s with all)", threads, everything, step, with_all)
    return threads


def _num_workers(data: DataConfig, threads: int, probe: Probe) -> int:
    """Decide how many data loader workers load the samples that are not in memory.

    Batches do not depend on it. While a GPU computes, the cores are free: all but one load samples, at most
    `one_by_one.MOST_WORKERS`. Elsewhere workers take cores from the training, so there are none unless
    loading a batch takes more than `WAITING` of a step's time, and then as many as keep up with it.
    """
    if data.num_workers != "auto":
        return data.num_workers
    most = probe.most_workers
    if most is None:
        return 0
    if probe.device_type == "cuda":
        wanted, reason = sys.maxsize, ""
    else:
        load, step = probe.load_seconds(), probe.step_seconds(threads)
        wanted = math.ceil(load / step) if load > WAITING * step else 0
        reason = f": loading a batch takes {milliseconds(load)} in one process, a step {milliseconds(step)}"
    chosen = min(wanted, most.count)
    workers = f"{chosen or 'no'} data loader worker{'s' * (chosen != 1)}"
    log.info("using %s (data.num_workers)%s", workers, reason)
    if wanted > chosen and most.advice:
        log.warning("data.num_workers: %s%s; %s", "only " if chosen else "", workers, most.advice)
    return chosen


def _mode(stopping: EarlyStoppingConfig, probe: Probe) -> Literal["min", "max"]:
    return "max" if probe.higher_is_better(stopping.monitor) else "min"


def milliseconds(seconds: float) -> str:
    """Format a duration: `0.52 ms`, `9.1 ms` or `370 ms`."""
    return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{1000 * seconds:.0f} ms"
