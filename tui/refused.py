"""Takes away a run that the user's mistake kept from its first step; its reason is all there is to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchconsole.engine.runtime.launcher import StartedRun


def remove_if_refused(run: StartedRun) -> str | None:
    """Remove a new run that failed so, and return the reason; None for any other. Waits for its worker's end.

    Raises RunError where the run cannot be read, OSError where it cannot be removed.
    """
    from torchconsole.engine.runtime.registry import forget

    record = run.folder.read_record()
    if not (record.status == "failed" and record.user_error and record.step == 0):
        return None
    run.process.wait()
    forget(run.folder)
    return record.reason
