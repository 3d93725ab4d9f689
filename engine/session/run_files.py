"""Writes the files of a live run, on a disk that may be full: lines are appended, other files replaced."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.commands import ChangeSetting
from torchconsole.engine.protocol.events import (
    CommandApplied,
    EvaluationCompleted,
    Event,
    LogWritten,
)
from torchconsole.engine.protocol.json_text import dump_json
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.jsonl import JsonLines
from torchconsole.engine.run.line_formats import event_line, gap_line, journal_line, train_line
from torchconsole.engine.run.names import RUN_FILE
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.recorded_history import write_history
from torchconsole.engine.session.record_writer import RecordWriter

PERIOD = 1.0
"""Seconds between two writes of confusion.json."""


class RunFiles:
    """Collects points and events, and writes them on request.

    A file that cannot be written is reported once, as an event, and tried again with each later write.
    """

    def __init__(
        self, folder: RunFolder, report: Callable[[Event], None], write_preset: Callable[[int], None]
    ) -> None:
        """`write_preset` writes the preset as it is after so many changes by commands.

        While more have been made, it may write nothing: the next event brings it here again.
        """
        self._report = report
        self._write_preset = write_preset
        self._changes = self._written_changes = 0
        self._folder = folder
        self._metrics = JsonLines(folder.metrics_file)
        self._journal = JsonLines(folder.journal_file)
        self._record = RecordWriter(folder)
        self._confusion: EvaluationCompleted | None = None
        self._confusion_written = 0.0
        self.failing: dict[str, OSError] = {}
        """Files that could not be written when it was last tried, with the error."""

    def move_to(self, folder: RunFolder) -> None:
        """Write to another folder from now on: the run's folder was renamed."""
        self._folder = folder
        self._metrics.move_to(folder.metrics_file)
        self._journal.move_to(folder.journal_file)
        self._record.move_to(folder)

    @property
    def missing_at_the_end(self) -> dict[str, OSError]:
        """The files that could not be written and will not be, with the error."""
        return {
            name: error
            for name, error in self.failing.items()
            if not (name == RUN_FILE and self._record.has_spare)
        }

    def record_of(self, state: RunState) -> RunRecord:
        """Return what run.json has of a state, even if it cannot be written."""
        return self._record.record_of(state)

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
            self._changes += isinstance(event.command, ChangeSetting)
        if isinstance(event, EvaluationCompleted) and event.has_tables:
            self._confusion = event

    def write(self, state: RunState) -> None:
        """Write what was collected, and the state if it is due."""
        self._try("metrics.jsonl", lambda: self._write_metrics(state))
        self._try("journal.jsonl", self._journal.flush)
        if self._changes > self._written_changes:
            self._try("preset.toml", self._write_changed_preset)
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
        for name, lines in (("metrics.jsonl", self._metrics), ("journal.jsonl", self._journal)):
            if lines.is_cut():
                message = f"{name} was removed: it begins anew, with the lines from now on"
                self._report(LogWritten(level="warning", message=message))
        if dropped:
            self._metrics.append(gap_line(state, dropped))
            self._metrics.flush()
        return dropped

    def _write_changed_preset(self) -> None:
        self._write_preset(self._changes)
        self._written_changes = self._changes

    def _write_confusion(self) -> None:
        if self._confusion is not None:
            write_atomically(self._folder.confusion_file, dump_json(self._confusion).encode())
            self._confusion, self._confusion_written = None, time.monotonic()

    def _try(self, name: str, write: Callable[[], int | None]) -> None:
        """Write a file; training continues if that fails."""
        try:
            dropped = write()
        except OSError as error:
            is_new = name not in self.failing
            self.failing[name] = error
            if is_new:
                cause = os.strerror(error.errno) if error.errno else str(error)
                self._report(
                    LogWritten(level="error", message=f"{name} cannot be written: {cause}; will try again")
                )
            return
        if self.failing.pop(name, None):
            loss = f"; {dropped} lines are missing" if dropped else ""
            self._report(LogWritten(level="warning", message=f"{name} can be written again{loss}"))
