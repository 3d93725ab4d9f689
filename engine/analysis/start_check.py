"""Builds a training and tries it, the same way for `check` and for every start of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torchconsole.engine.analysis.findings import find
from torchconsole.engine.analysis.summary import summarize
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.protocol.info import ModelSummary
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.training.dry_run import DryRun, dry_run
from torchconsole.engine.training.parts import TrainingParts
from torchconsole.engine.training.setup import TrainingSetup, build_setup
from torchconsole.engine.training.trial import first_batch


@dataclass(frozen=True)
class CheckedSetup:
    """A training that is ready to run, with what its dry run saw."""

    setup: TrainingSetup
    dry_run: DryRun
    summary: ModelSummary
    findings: list[Finding]


def check_parts(parts: TrainingParts, report: ReportPhase, *, with_test: bool = False) -> CheckedSetup:
    """Build the rest of a training from its parts, try all of it, and look for pitfalls.

    Raises ComponentError and DataError, which name the key to change, and TrustError.
    """
    begin = time.perf_counter()
    batch = first_batch(parts)
    workers = parts.data.one_by_one.num_workers if parts.data.one_by_one else 0
    seconds = (time.perf_counter() - begin) / max(1, workers)
    # Before any forward pass: a tensor that a pass leaves on the model cannot be copied.
    summary = summarize(parts.model, batch[0])
    setup = build_setup(parts, report, batch)
    setup.summary = summary
    seen = dry_run(setup, batch, seconds, with_test=with_test)
    return CheckedSetup(setup, seen, summary, find(setup, seen))
