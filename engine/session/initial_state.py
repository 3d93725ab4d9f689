"""The state of a run that is known before its training begins."""

from __future__ import annotations

import os
from typing import Any

from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord


def initial_state(record: RunRecord, folder: RunFolder, title: str, config: dict[str, Any]) -> RunState:
    """Build the state; the server adds the history of a resumed run."""
    return RunState(
        name=folder.name,
        folder=str(folder.path),
        preset=record.preset,
        title=title,
        config=config,
        pid=os.getpid(),
        host=record.host,
        created=record.created,
    )
