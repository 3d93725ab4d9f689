"""run.json and the protocol's state: written from it by the worker, and turned back into it by a reader."""

from __future__ import annotations

import json
import os
import platform
import socket
import time
from dataclasses import replace
from importlib import metadata

from pydantic import ValidationError

from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.events import Event, RunFailed, TelemetryMeasured
from torchconsole.engine.protocol.run_state import Kept, RunState, fields_kept
from torchconsole.engine.run.folder import RunFolder, RunRecord
from torchconsole.engine.run.processes import boot_id, start_ticks

PERIOD = 1.0
"""Seconds between two writes of run.json while the status stays the same."""


def versions() -> dict[str, str]:
    """The versions that are known without torch."""
    return {"python": platform.python_version(), "torchconsole": metadata.version("torchconsole")}


def state_from(record: RunRecord) -> RunState:
    """Build the state that a record holds. Raises RunError when it is not one of ours."""
    shared = {name: getattr(record, name) for name in fields_kept(Kept.RECORD | Kept.IDENTITY)}
    details = {name: record.details[name] for name in fields_kept(Kept.DETAILS) if name in record.details}
    try:
        return RunState.model_validate({**details, **shared})
    except ValidationError as error:
        raise RunError(f"{record.folder}/run.json: was not written by torchconsole: {error}") from error


class RunJson:
    """Keeps run.json at what the state says, with the facts about this process beside it."""

    def __init__(self, folder: RunFolder, address: str) -> None:
        launched = folder.load_record()
        self._folder = folder
        self._record = replace(
            launched,
            pid=os.getpid(),
            host=socket.gethostname(),
            boot_id=boot_id(),
            process_start=start_ticks(os.getpid()),
            socket=address,
            user_error=False,
            versions={**launched.versions, **versions()},
        )
        self._status = ""
        self._stale = True
        self._written = 0.0

    def note(self, event: Event) -> None:
        """Take in what run.json keeps of an event beside the state."""
        self._stale = self._stale or not isinstance(event, TelemetryMeasured)
        if isinstance(event, RunFailed):
            self._record.user_error = event.user_error

    def update(self, state: RunState) -> None:
        """Write the state if it is time to. Raises OSError, and the next call tries again."""
        due = self._stale and time.monotonic() - self._written >= PERIOD
        if due or state.status != self._status:
            self.write(state)

    def write(self, state: RunState) -> None:
        """Write the state now. Raises OSError."""
        self._folder.write_record(self._filled(state))
        self._status, self._stale, self._written = state.status, False, time.monotonic()

    def _filled(self, state: RunState) -> RunRecord:
        """Through pydantic's JSON, which turns what is not finite into null."""
        plain = json.loads(state.model_dump_json(include=set(fields_kept(Kept.RECORD | Kept.DETAILS))))
        record = replace(self._record, updated=time.time(), lr=plain["metrics"].get("lr"))
        for name in fields_kept(Kept.RECORD):
            setattr(record, name, plain[name])
        record.details = {name: plain[name] for name in fields_kept(Kept.DETAILS)}
        if state.device is not None:
            record.versions = {**record.versions, "torch": state.device.torch}
        return record
