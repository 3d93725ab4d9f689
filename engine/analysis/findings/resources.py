"""Findings on lengths and sizes: patience, batch size, memory, cores, precision."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from torchconsole.engine.analysis.findings.rates import evaluations
from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.components.data.loader_worker import shared_memory_warning
from torchconsole.engine.components.data.memory_budget import free_bytes
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.run.cgroups import usable_cores
from torchconsole.engine.text import mebibytes
from torchconsole.engine.training.dry_run import DryRun
from torchconsole.engine.training.setup import TrainingSetup

FEW_STEPS = 100
"""A run of fewer steps trains little."""


def find_in_resources(setup: TrainingSetup, dry_run: DryRun) -> Iterator[Finding]:
    """Yield the findings on what the run needs and what there is."""
    yield from _patience(setup)
    yield from _batch_size(setup)
    yield from _loading(setup)
    yield from _memory(setup, dry_run)
    if dry_run.scaler_skipped:
        yield finding(
            "fp16-overflows", "the fp16 scaler skipped all steps of the dry run, whatever its scale"
        )


def _patience(setup: TrainingSetup) -> Iterator[Finding]:
    stopping, count = setup.preset.early_stopping, evaluations(setup)
    if stopping is not None and stopping.patience >= count:
        evidence = f"early_stopping.patience is {stopping.patience}, but the run has {count} evaluation"
        yield finding("patience-too-long", f"{evidence}{'s' * (count != 1)}", evaluations=count)


def _batch_size(setup: TrainingSetup) -> Iterator[Finding]:
    data, training = setup.preset.data, setup.preset.training
    samples = setup.data.train.samples_per_epoch
    together = setup.effective_batch
    if together <= samples or data.overfit_batches is not None:
        return
    steps, processes = training.grad_accum_steps, setup.ranks.size
    accumulated = f" times training.grad_accum_steps {steps}" if steps > 1 else ""
    shared = f" times {processes} processes" if processes > 1 else ""
    evidence = f"data.batch_size {data.batch_size}{accumulated}{shared} is more "
    evidence += f"than the {samples:,} training samples, and the run has {setup.total_steps:,} steps"
    name = "batch-too-large" if setup.total_steps < FEW_STEPS else "batch-holds-all"
    yield finding(name, evidence, usual=max(1, min(32, samples // (10 * processes))))


def _loading(setup: TrainingSetup) -> Iterator[Finding]:
    one_by_one, workers, cores = setup.data.one_by_one, setup.preset.data.num_workers, usable_cores()
    processes = setup.ranks.local_size
    if workers == "auto" or not workers:
        return
    if workers * processes > cores:
        limit = f"{cores} core{'s' * (cores > 1)}"
        evidence = (
            f"data.num_workers is {workers}, but this process can use {limit}"
            if processes == 1
            else f"data.num_workers is {workers} in each of {processes} processes, but they can use {limit}"
        )
        yield finding("too-many-workers", evidence, workers=max(int(processes == 1), cores // processes - 1))
    if one_by_one and (warning := shared_memory_warning(one_by_one.batch_bytes, workers, processes)):
        evidence, _, remedy = warning.partition(": ")
        yield finding("shared-memory-too-small", evidence, remedy=remedy)


def _memory(setup: TrainingSetup, dry_run: DryRun) -> Iterator[Finding]:
    if dry_run.memory_bytes is None:
        return
    free = free_bytes(setup.device) + _already_taken(setup)
    processes = setup.ranks.local_size if setup.device.type == "cpu" else 1
    if dry_run.memory_bytes * processes > free:
        each = f" in each of {processes} processes" if processes > 1 else ""
        evidence = f"a step takes {mebibytes(dry_run.memory_bytes)}{each}, but {mebibytes(free)} are free"
        yield finding("step-exceeds-memory", evidence)


def _already_taken(setup: TrainingSetup) -> int:
    """Return the bytes of a step that are not free because the training has them already."""
    if setup.device.type == "cuda":
        return torch.cuda.memory_reserved(setup.device)
    return sum(tensor.nbytes for tensor in (*setup.model.parameters(), *setup.model.buffers()))
