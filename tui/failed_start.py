"""Undoes a start that the user's mistake kept from its first step; its reason is all there is to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.run.record import RunRecord


def discard_failed_start(run: StartedRun) -> str | None:
    """Remove a new run that failed so, have a resumed one stand as before, and return the reason.

    None for any other. Waits for the worker's end. Raises RunError where the run cannot be read, OSError
    where it cannot be removed or written.
    """
    from torchconsole.engine.run.registry import forget

    record = run.folder.read_record()
    if not _is_refused(run, record):
        return None
    run.process.wait()
    if run.before is None:
        forget(run.folder)
    else:
        run.folder.write_record(run.before.record)
    return record.reason


def _is_refused(run: StartedRun, record: RunRecord) -> bool:
    if not (record.status == "failed" and record.user_error):
        return False
    if run.before is None:
        return record.step == 0
    return run.folder.metrics_bytes() == run.before.metrics_bytes
