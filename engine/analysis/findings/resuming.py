"""The finding that a resume will not be exact, because user code keeps what no checkpoint has."""

from __future__ import annotations

from collections.abc import Iterator

from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.text import printable
from torchconsole.engine.training.dry_run import DryRun

MOST_NAMES = 3
"""Number of places that the finding names."""

IN_MODEL = (
    "keep it in a generator (random.Random, numpy.random.Generator, torch.Generator), in a plain attribute "
    "or a buffer, or give its object state_dict() and load_state_dict()"
)
IN_DATA = "compute it from the index of the sample, or draw from a random number generator"


def find_in_state(dry_run: DryRun) -> Iterator[Finding]:
    """Yield one finding for all that a checkpoint cannot have."""
    found = dry_run.unsaved_state
    if not found:
        return
    in_data = [place for place in found if place.startswith("data")]
    remedy = IN_MODEL if not in_data else IN_DATA
    if in_data and len(in_data) < len(found):
        remedy = f"{IN_MODEL}; in a data set or transform, {IN_DATA}"
    more = f" and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
    places = ", ".join(map(printable, found[:MOST_NAMES]))
    evidence = f"a resume will not be exact: {places}{more} may change from step to step"
    yield finding("resume-not-exact", evidence, remedy=remedy)
