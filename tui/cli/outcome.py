"""How a run ended: one line for people, an exit status for scripts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from torchconsole.engine.text import printable
from torchconsole.tui.cli import report_error
from torchconsole.tui.formatting import format_metric

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.run.folder import RunFolder
    from torchconsole.engine.run.record import RunRecord

FAILED_STATUSES = ("failed", "lost", "interrupted")


def report_outcome(folder: RunFolder, started: StartedRun | None = None) -> int:
    """Print how a run ended, or how to attach to it if it is live, and return the exit status.

    Pass `started` if this process started the worker: then it can name the signal that killed the worker, and
    the reason why a new run was refused and removed.
    """
    from torchconsole.engine.run.registry import moved_to

    if started and (reason := started.refusal()) is not None:
        status = report_error(reason)
        if started.can_start_anyway:
            print("torchconsole: fix this, or start anyway with --anyway", file=sys.stderr)
        return status
    folder = moved_to(folder)
    if not folder.run_file.exists():
        if folder.log_elsewhere.exists():
            why = f"its folder was removed while it was live; see {folder.log_elsewhere}"
        else:
            why = "its start was refused, or it was deleted"
        return report_error(f"run {folder.name} was removed: {why}", status=1)
    record = folder.read_record()
    if record.problem and not record.is_live:
        return report_error(describe_outcome(record), status=1)
    if record.status not in FAILED_STATUSES:
        print(printable(describe_outcome(record)))
        return 0
    if record.user_error:
        return report_error(record.reason)
    reason = " ".join(record.reason.split())
    if started and record.status == "lost" and started.process.pid == record.pid:
        reason = f"{started.exit_reason()}: {reason}"
    return report_error(f"run {record.name} {record.status}: {reason}; see {folder.log_file}", status=1)


def describe_outcome(record: RunRecord) -> str:
    """Return one line about a run that is live or has not failed."""
    if record.is_live:
        return f"run {record.name} is still running: torchconsole attach {record.name}"
    if record.problem:
        return f"run {record.name} {record.status}, but {record.problem}; {record.folder}"
    parts = [f"run {record.name} {record.status} after step {record.step:,}", record.reason]
    if record.best:
        best = record.best
        parts.append(f"best {best['metric']} {format_metric(best['value'])} at step {best['step']:,}")
    parts.append(str(record.folder))
    return "; ".join(part for part in parts if part)
