"""What run.json has of a run's state."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from torchconsole.engine.protocol.json_text import dump_json
from torchconsole.engine.protocol.run_state import RunState, Storage, fields_stored_in
from torchconsole.engine.run.record import RunRecord


def record_with(record: RunRecord, state: RunState) -> RunRecord:
    """Return a record with the state in it. By way of JSON, numbers that are not finite become null."""
    content = json.loads(dump_json(state, set(fields_stored_in(Storage.RECORD | Storage.DETAILS))))
    record = replace(record, updated=time.time(), lr=content["metrics"].get("lr"))
    for name in fields_stored_in(Storage.RECORD):
        setattr(record, name, content[name])
    record.details = {name: content[name] for name in fields_stored_in(Storage.DETAILS)}
    return record
