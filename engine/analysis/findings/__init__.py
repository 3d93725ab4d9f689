"""Findings: pitfalls of a training, each with its evidence, its reason and its remedy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from torchconsole.engine.analysis.findings.facts import gather
from torchconsole.engine.analysis.findings.gradients import find_in_gradients
from torchconsole.engine.analysis.findings.inputs import find_in_inputs
from torchconsole.engine.analysis.findings.modules import find_in_modules
from torchconsole.engine.analysis.findings.nonfinite import find_in_numbers
from torchconsole.engine.analysis.findings.outputs import find_in_outputs
from torchconsole.engine.analysis.findings.processes import find_in_processes
from torchconsole.engine.analysis.findings.rates import find_in_rates
from torchconsole.engine.analysis.findings.resources import find_in_resources
from torchconsole.engine.analysis.findings.resuming import find_in_state
from torchconsole.engine.analysis.findings.samples import (
    find_absent_classes,
    find_in_classes,
    find_in_samples,
)
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.text import error_summary
from torchconsole.engine.training.dry_run import DryRun
from torchconsole.engine.training.setup import TrainingSetup

log = logging.getLogger(__name__)

LEVELS = ("error", "warning", "hint")

Search = Callable[[], Iterable[Finding]]


def find(setup: TrainingSetup, dry_run: DryRun) -> list[Finding]:
    """Return what the dry run's batches and the modules show, the worst first; fast, for every start."""
    facts = gather(setup, dry_run)
    return _sorted(
        lambda: find_in_numbers(facts),
        lambda: find_in_outputs(facts),
        lambda: find_in_modules(facts),
        lambda: find_in_gradients(facts),
        lambda: find_in_inputs(facts),
        lambda: find_in_classes(setup),
        lambda: find_absent_classes(setup),
        lambda: find_in_rates(setup),
        lambda: find_in_resources(setup, dry_run),
        lambda: find_in_processes(setup),
        lambda: find_in_state(dry_run),
    )


def find_in_data(setup: TrainingSetup) -> list[Finding]:
    """Return what the whole data shows, the worst first. This reads samples, so only `check` does it."""
    return _sorted(lambda: find_in_samples(setup))


def _sorted(*searches: Search) -> list[Finding]:
    found: list[Finding] = []
    for search in searches:
        try:
            found += search()
        except Exception as error:  # noqa: BLE001 - models return anything; a search never costs the run
            log.info("one search for pitfalls has failed: %s", error_summary(error))
    return sorted(found, key=lambda each: LEVELS.index(each.level))
