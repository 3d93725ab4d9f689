"""Writes the files of a live run, on a disk that may be full: lines are appended, other files replaced."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.events import (
    CommandApplied,
    EvaluationCompleted,
    Event,
    LogWritten,
    RunFailed,
    TelemetryMeasured,
)
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.run_state import RunState, Storage, fields_stored_in
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.jsonl import JsonLines
from torchconsole.engine.run.line_formats import event_line, gap_line, journal_line, train_line
from torchconsole.engine.run.liveness import boot_id, start_ticks
from torchconsole.engine.run.memory_kills import read_counters
from torchconsole.engine.run.record import RunRecord, own_versions
from torchconsole.engine.run.recorded_history import write_history

PERIOD = 1.0
"""Seconds between two writes of run.json while the status stays the same, and of confusion.json."""


class RunFiles:
    """Collects points and events, and writes them on request.

    A file that cannot be written is reported once, as an event, and tried again with each later write.
    """

    def __init__(self, folder: RunFolder, report: Callable[[Event], None]) -> None:
        self._report = report
        self._folder = folder
        self._metrics = JsonLines(folder.metrics_file)
        self._journal = JsonLines(folder.journal_file)
        self._record = RecordWriter(folder)
        self._confusion: EvaluationCompleted | None = None
        self._confusion_written = 0.0
        self._failing: set[str] = set()

    def move_to(self, folder: RunFolder) -> None:
        """Write to another folder from now on: the run's folder was renamed."""
        self._folder = folder
        self._metrics.move_to(folder.metrics_file)
        self._journal.move_to(folder.journal_file)
        self._record.move_to(folder)

    @property
    def record(self) -> RunRecord:
        """The last content of run.json."""
        return self._record.written

    def set_address(self, address: str) -> None:
        """Name this address of the run's socket in run.json."""
        self._record.set_address(address)

    def add_points(self, points: Sequence[MetricsPoint], first_seq: int) -> None:
        """Collect logged steps, numbered from `first_seq` on."""
        for seq, point in enumerate(points, first_seq):
            self._metrics.append(train_line(point, seq))

    def add(self, event: Event) -> None:
        """Collect an event."""
        self._record.note(event)
        if line := event_line(event):
            self._metrics.append(line)
        if isinstance(event, CommandApplied):
            self._journal.append(journal_line(event))
        if isinstance(event, EvaluationCompleted) and event.confusion is not None:
            self._confusion = event

    def write(self, state: RunState) -> None:
        """Write what was collected, and the state if it is due."""
        self._try("metrics.jsonl", lambda: self._write_metrics(state))
        self._try("journal.jsonl", self._journal.flush)
        if time.monotonic() - self._confusion_written >= PERIOD:
            self._try("confusion.json", self._write_confusion)
        self._try("run.json", lambda: self._record.update(state))

    def write_history(self, snapshot: Snapshot) -> None:
        """Write history.json."""
        self._try("history.json", lambda: write_history(self._folder, snapshot))

    def write_all(self, state: RunState) -> None:
        """Write everything, because the run ends."""
        self.write(state)
        self._try("confusion.json", self._write_confusion)
        self._try("run.json", lambda: self._record.write(state))

    def close(self) -> None:
        """Close the files. What was not written is lost."""
        self._metrics.close()
        self._journal.close()

    def _write_metrics(self, state: RunState) -> int:
        """Write the lines; after a full disk, also a line with the number of those that were dropped."""
        dropped = self._metrics.flush()
        if dropped:
            self._metrics.append(gap_line(state, dropped))
            self._metrics.flush()
        return dropped

    def _write_confusion(self) -> None:
        if self._confusion is not None:
            write_atomically(self._folder.confusion_file, self._confusion.model_dump_json().encode())
            self._confusion, self._confusion_written = None, time.monotonic()

    def _try(self, name: str, write: Callable[[], int | None]) -> None:
        """Write a file; training continues if that fails."""
        try:
            dropped = write()
        except OSError as error:
            if name not in self._failing:
                self._failing.add(name)
                cause = os.strerror(error.errno) if error.errno else str(error)
                self._report(
                    LogWritten(level="error", message=f"{name} cannot be written: {cause}; will try again")
                )
            return
        if name in self._failing:
            self._failing.discard(name)
            loss = f"; {dropped} lines are missing" if dropped else ""
            self._report(LogWritten(level="warning", message=f"{name} can be written again{loss}"))


class RecordWriter:
    """Writes the state into run.json, together with the facts about this process."""

    def __init__(self, folder: RunFolder) -> None:
        launched = folder.load_record()
        self._folder = folder
        self._record = replace(
            launched,
            pid=os.getpid(),
            host=socket.gethostname(),
            boot_id=boot_id(),
            process_start=start_ticks(os.getpid()),
            memory_kills=read_counters(),
            socket="",
            user_error=False,
            can_start_anyway=False,
            versions={**launched.versions, **own_versions()},
        )
        self._status = ""
        self._stale = True
        self._written = 0.0
        self.written = self._record

    def move_to(self, folder: RunFolder) -> None:
        """Write to this folder from now on, under its name, and again if run.json was removed."""
        if folder != self._folder or not folder.run_file.exists():
            self._stale, self._written = True, 0.0
        self._folder = folder
        self._record = replace(self._record, name=folder.name, folder=str(folder.path))

    def set_address(self, address: str) -> None:
        """Name this address of the run's socket from the next `update` on, which is due at once."""
        self._record.socket = address
        self._stale, self._written = True, 0.0

    def note(self, event: Event) -> None:
        """Note what run.json keeps of an event besides the state."""
        self._stale = self._stale or not isinstance(event, TelemetryMeasured)
        if isinstance(event, RunFailed):
            self._record.user_error = event.user_error
            self._record.can_start_anyway = event.can_start_anyway

    def update(self, state: RunState) -> None:
        """Write the state if it is due. Raises OSError; the next call tries again."""
        due = self._stale and time.monotonic() - self._written >= PERIOD
        if due or state.status != self._status:
            self.write(state)

    def write(self, state: RunState) -> None:
        """Write the state now. Raises OSError."""
        record = self._filled(state)
        self._folder.write_record(record)
        self.written = record
        self._status, self._stale, self._written = state.status, False, time.monotonic()

    def _filled(self, state: RunState) -> RunRecord:
        """Fill the record by way of pydantic's JSON, which turns non-finite numbers into null."""
        content = json.loads(
            state.model_dump_json(include=set(fields_stored_in(Storage.RECORD | Storage.DETAILS)))
        )
        record = replace(self._record, updated=time.time(), lr=content["metrics"].get("lr"))
        for name in fields_stored_in(Storage.RECORD):
            setattr(record, name, content[name])
        record.details = {name: content[name] for name in fields_stored_in(Storage.DETAILS)}
        if state.device is not None:
            record.versions = {**record.versions, "torch": state.device.torch}
        return record
