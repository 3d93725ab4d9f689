"""Findings on a training by several processes: what they share on a machine, and what each computes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from torchconsole.engine.analysis.findings.rules import Level, Rule, finding
from torchconsole.engine.components.ranks import PlannedRanks
from torchconsole.engine.config.schema import DistributedConfig
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.run.cgroups import usable_cores
from torchconsole.engine.text import counted
from torchconsole.engine.training.setup import TrainingSetup

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

FEW_SAMPLES = 16
"""Batch normalization by fewer samples costs accuracy: ResNet-50 errs in 23.7 % with 16, 24.8 % with 8 and
34.7 % with 2 samples (Wu and He 2018, Group Normalization)."""

OWN_LR = {"OneCycleLR": "max_lr", "CyclicLR": "max_lr"}
"""Schedules that have the lr in an argument."""

RULES = {
    "more-processes-than-gpus": Rule(
        "error",
        "each process needs a GPU of its own",
        'start at most {gpus} with --nproc, or set training.device = "cpu"',
    ),
    "processes-on-mps": Rule(
        "error",
        "torch's processes can only compute together on the CPU, or on GPUs of NVIDIA and AMD",
        'set training.device = "cpu", or distributed.processes = 1',
    ),
    "device-number-ignored": Rule(
        "hint",
        "of several processes each takes the GPU with its own number",
        'set training.device = "cuda", and choose GPUs with CUDA_VISIBLE_DEVICES',
    ),
    "more-processes-than-cores": Rule(
        "warning",
        "on the CPU they take turns, and are no faster than fewer processes",
        "start at most {cores} with --nproc",
    ),
    "too-many-threads": Rule(
        "warning",
        "threads that share a core slow each other down",
        'set training.threads = {threads}, or "auto"',
    ),
    "few-samples-per-process": Rule(
        "hint",
        "each process computes mean and variance from its own samples only, and with few of them the "
        "accuracy suffers (Wu and He 2018, Group Normalization)",
        "{remedy}",
    ),
    "shared-statistics-without-batch-norm": Rule(
        "hint",
        "distributed.sync_batchnorm has nothing to do",
        "remove it",
    ),
    "metric-cannot-be-shared": Rule(
        "warning",
        "each process evaluates its part of the validation set; what they count is added up only if the "
        "state says how",
        'pass dist_reduce_fx="sum" (or "mean", "max", "min", "cat") to add_state',
    ),
    "lr-not-scaled": Rule(
        "hint",
        "distributed.lr_scaling multiplies optimizer.lr and those of parameter groups only",
        "set {key} to the lr of all processes together",
    ),
    "settings-of-several-processes": Rule(
        "hint",
        "they have no effect in a training by one process",
        "start it with --nproc N; `torchconsole check PRESET --nproc N` shows what that would be",
    ),
}


def find_in_processes(setup: TrainingSetup) -> Iterator[Finding]:
    """Yield the findings on processes that train together, or that a preset has settings for."""
    if setup.ranks.is_alone:
        if not setup.from_checkpoint:  # else several may have trained it
            yield from _without_processes(setup.preset.distributed)
        return
    yield from _devices(setup)
    yield from _cores(setup)
    yield from _batch_norm(setup)
    yield from _metrics(setup)
    yield from _schedule(setup)


def _without_processes(config: DistributedConfig) -> Iterator[Finding]:
    default = DistributedConfig()
    names = [
        f"distributed.{name}"
        for name in ("strategy", "cpu_offload", "sync_batchnorm", "lr_scaling", "max_restarts")
        if getattr(config, name) != getattr(default, name)
    ]
    if names:
        evidence = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} set, but one process trains"
        yield finding("settings-of-several-processes", evidence, rules=RULES)


def _devices(setup: TrainingSetup) -> Iterator[Finding]:
    wanted, count, kind = setup.preset.training.device, setup.ranks.local_size, setup.device.type
    if kind not in ("cpu", "cuda"):
        yield finding("processes-on-mps", f"{count} processes would train on {kind}", rules=RULES)
    gpus = torch.cuda.device_count()
    # A launcher may show each process that is started its own GPU only.
    if kind == "cuda" and isinstance(setup.ranks, PlannedRanks) and count > gpus:
        evidence = f"{count} processes would train here, but torch finds {counted(gpus, 'GPU')}"
        yield finding("more-processes-than-gpus", evidence, rules=RULES, gpus=gpus)
    if kind == "cuda" and ":" in wanted:
        evidence = f"training.device is {wanted}, but {count} processes train"
        yield finding("device-number-ignored", evidence, rules=RULES)


def _cores(setup: TrainingSetup) -> Iterator[Finding]:
    count, cores, threads = setup.ranks.local_size, usable_cores(), setup.preset.training.threads
    if setup.device.type != "cpu":
        return
    if count > cores:
        evidence = f"{count} processes train here, which can use {counted(cores, 'core')}"
        yield finding("more-processes-than-cores", evidence, rules=RULES, cores=cores)
    elif isinstance(threads, int) and threads > 1 and threads * count > cores:
        evidence = (
            f"training.threads is {threads} in each of {count} processes, which can use "
            f"{counted(cores, 'core')} together"
        )
        yield finding("too-many-threads", evidence, rules=RULES, threads=cores // count)


def _batch_norm(setup: TrainingSetup) -> Iterator[Finding]:
    modules, size = list(setup.model.modules()), setup.preset.data.batch_size
    norms = sum(isinstance(module, BATCH_NORMS) for module in modules)
    synchronized = setup.preset.distributed.sync_batchnorm
    if synchronized and not any(isinstance(module, nn.SyncBatchNorm) for module in modules):
        evidence = "the model has no batch norm"
        yield finding("shared-statistics-without-batch-norm", evidence, rules=RULES)
    if norms and size < FEW_SAMPLES and not synchronized:
        evidence = (
            f"data.batch_size is {size} in each of {setup.ranks.size} processes, and the model has "
            f"{counted(norms, 'batch norm')}"
        )
        remedy = f"raise data.batch_size to {FEW_SAMPLES} or more"
        if setup.device.type == "cuda":
            remedy = f"set distributed.sync_batchnorm = true, or {remedy}"
        level: Level = "warning" if size == 1 else "hint"
        yield finding("few-samples-per-process", evidence, level=level, rules=RULES, remedy=remedy)


def _metrics(setup: TrainingSetup) -> Iterator[Finding]:
    for key, metric in setup.metrics.by_key.items():
        # Those of torchmetrics without a reduction put the states of all processes together themselves.
        if type(metric).__module__.startswith("torchmetrics."):
            continue
        states = [name for name, reduce in metric._reductions.items() if reduce is None]
        if states:
            evidence = f"the state {', '.join(states)} of the metric {key} has no dist_reduce_fx"
            yield finding("metric-cannot-be-shared", evidence, rules=RULES)


def _schedule(setup: TrainingSetup) -> Iterator[Finding]:
    scaling = setup.preset.distributed.lr_scaling
    if scaling == "none":
        return
    for number, part in enumerate(setup.preset.schedule):
        if (name := OWN_LR.get(part.name)) is not None:
            key = f"schedule.{number}.{name}"
            evidence = f"distributed.lr_scaling is {scaling}, and {key} is an lr of its own"
            yield finding("lr-not-scaled", evidence, rules=RULES, key=key)
