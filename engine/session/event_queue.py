"""Hands events, metrics and log records from any thread to the server, without waiting."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.run.line_formats import log_line

ROUTINE = (
    ev.EvaluationCompleted,
    ev.EpochCompleted,
    ev.EarlyStoppingUpdated,
    ev.LayersMeasured,
    ev.SchedulePlanned,
    ev.PhaseChanged,
    ev.CheckpointSaved,
    ev.LogWritten,
    ev.FolderMoved,
    ev.ClientsChanged,
    ev.TelemetryMeasured,
    ev.RanksMeasured,
)
"""Events that nobody waits for: they are sent with the next metrics, at most a tenth of a second later."""

FLUSH_SECONDS = 5.0
"""Longest wait for the files: a checkpoint is worth more than the lines before it."""

MAX_LOG_CHARACTERS = 4000
"""Length of a log message in an event, which is kept in memory; worker.log has all of it."""


class EventQueue:
    """Holds what the training reports, in order. Any thread may add; adding never waits and does no I/O."""

    def __init__(self) -> None:
        self._items: deque[ev.Event | MetricsPoint | threading.Event] = deque()
        self._wake: Callable[[], object] | None = None

    def log(self, point: MetricsPoint) -> None:
        """Add the metrics of a step: an append and nothing else."""
        self._items.append(point)

    def emit(self, event: ev.Event) -> None:
        """Add an event. Wakes the server unless the event is routine."""
        self._items.append(event)
        wake = self._wake
        if wake is not None and not isinstance(event, ROUTINE):
            wake()

    def flush(self) -> None:
        """Wait until everything added so far is in the files. Not for the training thread."""
        mark = threading.Event()
        self._items.append(mark)
        wake = self._wake
        if wake is not None:
            wake()
            mark.wait(FLUSH_SECONDS)

    def take(self) -> Iterator[ev.Event | MetricsPoint | threading.Event]:
        """Remove what has been added until now, oldest first; later additions stay for the next call.

        Set each `threading.Event` in it once everything before it is written.
        """
        for _ in range(len(self._items)):
            yield self._items.popleft()

    def on_urgent(self, wake: Callable[[], object] | None) -> None:
        """Call `wake` after each event that is not routine, in the thread that added it; None to stop."""
        self._wake = wake


class Nowhere(EventQueue):
    """Takes the events of a process that does not lead: the leader reports them."""

    def log(self, point: MetricsPoint) -> None:
        """Drop the metrics of a step."""

    def emit(self, event: ev.Event) -> None:
        """Drop an event."""

    def flush(self) -> None:
        """Return at once."""


def configure_logging(event_queue: EventQueue, *, only_own: bool = False) -> None:
    """Send log records and Python's warnings to stderr, which is worker.log, and into the queue.

    With `only_own`, those of torchconsole alone: a program of the user's own configures its logging itself.
    """
    stderr = logging.StreamHandler()
    stderr.setFormatter(_LineFormatter())
    handlers = [stderr, _QueueHandler(event_queue)]
    if not only_own:
        logging.captureWarnings(True)
        logging.basicConfig(level=logging.INFO, handlers=handlers)
        return
    own = logging.getLogger("torchconsole")
    own.setLevel(logging.INFO)
    own.propagate = False
    own.handlers[:] = handlers


def open_log(event_queue: EventQueue, file: Path) -> Callable[[], None]:
    """Send the log records of torchconsole alone into the queue, to `file`, and warnings to stderr.

    For a process that is a program of the user's own. Return what ends that. Raises OSError.
    """
    own = logging.getLogger("torchconsole")
    written, shown = logging.FileHandler(file, encoding="utf-8"), logging.StreamHandler()
    shown.setLevel(logging.WARNING)
    handlers: list[logging.Handler] = [written, shown, _QueueHandler(event_queue)]
    level = own.level
    own.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(_LineFormatter())
        own.addHandler(handler)

    def close() -> None:
        own.setLevel(level)
        for handler in handlers:
            own.removeHandler(handler)
        written.close()

    return close


def report_error(message: str, level: ev.LogLevel = "error") -> None:
    """Write an error to worker.log alone, for example one that also ends the run."""
    with suppress(OSError):  # its disk is full, or away
        print(_at_line_start(log_line(time.time(), level, message)), file=sys.stderr, flush=True)


class _LineFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return _at_line_start(log_line(record.created, _level(record.levelno), record.message))


def _at_line_start(line: str) -> str:
    """Let a line begin where lines begin: on a program's terminal, a progress bar may be in its place."""
    return f"\r{line}" if sys.stderr.isatty() else line


class _QueueHandler(logging.Handler):
    def __init__(self, event_queue: EventQueue) -> None:
        super().__init__()
        self._event_queue = event_queue

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()[:MAX_LOG_CHARACTERS]
        self._event_queue.emit(ev.LogWritten(level=_level(record.levelno), message=message))


def _level(number: int) -> ev.LogLevel:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
