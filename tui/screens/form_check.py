"""What the form shows of a dry run: a line for each finding, and what the run would be like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchconsole.engine.config.program_arguments import ProgramArguments
from torchconsole.tui.formatting import format_bytes, format_step_memory
from torchconsole.tui.program_texts import describe_program

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import CheckReport

NO_ERRORS, WITH_ERRORS = "no errors", "errors in the dry run"


@dataclass(frozen=True)
class CheckedDraft:
    """The result of a check, with the overrides that it is about.

    `can_start_anyway`: it found errors that a start can overrule.
    """

    overrides: list[str]
    lines: list[str]
    title: str
    can_start_anyway: bool = False


def checked_draft(
    overrides: list[str], result: CheckReport | ProgramArguments | str, failed: str
) -> CheckedDraft:
    """Describe the report of a dry run, what a program says of its arguments, or the error that ended it.

    failed: title for such an error.
    """
    if isinstance(result, str):
        return CheckedDraft(overrides, [f"error: {line}" for line in result.splitlines()], failed)
    if isinstance(result, ProgramArguments):
        title = "refused" if result.problem else NO_ERRORS
        return CheckedDraft(overrides, list(describe_program(result)), title)
    has_errors = any(finding.level == "error" for finding in result.findings)
    return CheckedDraft(
        overrides, describe_check(result), WITH_ERRORS if has_errors else NO_ERRORS, has_errors
    )


def describe_check(report: CheckReport) -> list[str]:
    """Return a line for each finding, then one about the run."""
    memory = "" if report.memory is None else f", {format_bytes(report.memory)} of memory"
    loss = "not finite" if report.loss is None else f"{report.loss:.4g}"
    nothing = "no problem found" if report.loss is not None else "the first loss is not finite"
    found = [f"{finding.level}: {finding.line}" for finding in report.findings]
    parts = report.memory_parts
    return [
        *(found or [f"check: {nothing}"]),
        f"{report.train_samples:,} training samples, {report.params:,} parameters, first loss {loss}, "
        f"{1000 * report.step_seconds:.3g} ms a step{memory} on {report.device}",
        *([f"memory of a step: {format_step_memory(parts)}"] if parts else []),
    ]
