"""The files of a run at work: its two .jsonl and those replaced now and then, on a disk that may be full."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.events import CommandApplied, EvaluationCompleted, Event, LogWritten
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.history_cache import write_history
from torchconsole.engine.run.jsonl import JsonLines
from torchconsole.engine.run.metrics_format import event_line, gap_line, journal_line, train_line
from torchconsole.engine.run.run_json import PERIOD, RunJson


class RunFiles:
    """Takes what happens and writes it when told to. What cannot be written is said once, and tried again."""

    def __init__(self, folder: RunFolder, address: str, say: Callable[[Event], None]) -> None:
        self._say = say
        self._folder = folder
        self._metrics = JsonLines(folder.metrics_file)
        self._journal = JsonLines(folder.journal_file)
        self._run_json = RunJson(folder, address)
        self._confusion: EvaluationCompleted | None = None
        self._confusion_written = 0.0
        self._failing: set[str] = set()

    def add_points(self, points: Sequence[MetricsPoint], first_seq: int) -> None:
        """Take logged steps, numbered from `first_seq` on."""
        for seq, point in enumerate(points, first_seq):
            self._metrics.append(train_line(point, seq))

    def add(self, event: Event) -> None:
        """Take an event."""
        self._run_json.note(event)
        if line := event_line(event):
            self._metrics.append(line)
        if isinstance(event, CommandApplied):
            self._journal.append(journal_line(event))
        if isinstance(event, EvaluationCompleted) and event.confusion is not None:
            self._confusion = event

    def write(self, state: RunState) -> None:
        """Put on disk what was taken, and the state if it is time to."""
        self._try("metrics.jsonl", lambda: self._write_metrics(state))
        self._try("journal.jsonl", self._journal.flush)
        if time.monotonic() - self._confusion_written >= PERIOD:
            self._try("confusion.json", self._write_confusion)
        self._try("run.json", lambda: self._run_json.update(state))

    def keep(self, snapshot: Snapshot) -> None:
        """Put the history on disk."""
        self._try("history.json", lambda: write_history(self._folder, snapshot))

    def close(self, state: RunState) -> None:
        """Put everything on disk and close the files."""
        self.write(state)
        self._try("confusion.json", self._write_confusion)
        self._try("run.json", lambda: self._run_json.write(state))
        self._metrics.close()
        self._journal.close()

    def _write_metrics(self, state: RunState) -> int:
        """Write the lines, and after those that outlived a full disk how many did not."""
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
        """The training goes on whatever the disk does."""
        try:
            dropped = write()
        except OSError as error:
            if name not in self._failing:
                self._failing.add(name)
                cause = os.strerror(error.errno) if error.errno else str(error)
                self._say(
                    LogWritten(level="error", message=f"{name} cannot be written: {cause}; will try again")
                )
            return
        if name in self._failing:
            self._failing.discard(name)
            loss = f"; {dropped} lines are missing" if dropped else ""
            self._say(LogWritten(level="warning", message=f"{name} is written again{loss}"))
