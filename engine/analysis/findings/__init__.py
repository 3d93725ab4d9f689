"""Findings: pitfalls of a training, each with its evidence, its reason and its remedy."""

from __future__ import annotations

from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.training.dry_run import DryRun
from torchconsole.engine.training.setup import TrainingSetup


def find(setup: TrainingSetup, dry_run: DryRun) -> list[Finding]:
    """Return what the dry run's batches and the modules show; fast, for every start."""
    return []


def find_in_data(setup: TrainingSetup) -> list[Finding]:
    """Return what the whole data shows. This reads samples, so only `check` does it."""
    return []
