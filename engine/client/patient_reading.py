"""Reads a run's files for clients, whose event loop must not wait for a disk or network mount that hangs."""

from __future__ import annotations

import asyncio

from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.patience import within_patience
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.recorded_history import Progress, read_snapshot


async def patient_record(folder: RunFolder) -> RunRecord:
    """Read a run's record. Raises RunError, and UnreachableError if its disk is away or does not answer."""
    return await asyncio.to_thread(within_patience, _place(folder), lambda _: folder.read_record())


async def patient_snapshot(folder: RunFolder, progress: Progress = lambda _: None) -> Snapshot:
    """Read everything from the files of a run. Raises as `patient_record` does."""

    def read() -> Snapshot:
        return within_patience(
            _place(folder),
            lambda advance: read_snapshot(folder, lambda part: (advance(), progress(part))),
        )

    return await asyncio.to_thread(read)


def _place(folder: RunFolder) -> str:
    return str(folder.path.parent)
