"""What the form shows of a dry run: a line for each finding, and what the run would be like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchconsole.tui.formatting import format_bytes

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import CheckReport


@dataclass(frozen=True)
class CheckedDraft:
    """The result of a check, with the overrides that it is about."""

    overrides: list[str]
    lines: list[str]
    has_errors: bool = False


def has_errors(report: CheckReport) -> bool:
    """Whether findings would refuse the start of a run."""
    return any(finding.level == "error" for finding in report.findings)


def describe_check(report: CheckReport) -> list[str]:
    """Return a line for each finding, then one about the run."""
    memory = "" if report.memory is None else f", {format_bytes(report.memory)} of memory"
    loss = "not finite" if report.loss is None else f"{report.loss:.4g}"
    nothing = "no problem found" if report.loss is not None else "the first loss is not finite"
    found = [f"{finding.level}: {finding.line}" for finding in report.findings]
    return [
        *(found or [f"check: {nothing}"]),
        f"{report.train_samples:,} training samples, {report.params:,} parameters, first loss {loss}, "
        f"{1000 * report.step_seconds:.3g} ms a step{memory} on {report.device}",
    ]
