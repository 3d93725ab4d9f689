"""Where the worker's log goes: to worker.log (its stderr) and, line by line, to whoever watches."""

from __future__ import annotations

import logging
from typing import Literal

from torchconsole.engine.protocol.events import LogWritten
from torchconsole.engine.session.event_queue import EventQueue

Level = Literal["debug", "info", "warning", "error"]


def log_to(event_queue: EventQueue) -> None:
    """Send the process's log records and Python's warnings both ways."""
    logging.captureWarnings(True)
    printed = logging.StreamHandler()
    printed.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[printed, _OutboxHandler(event_queue)])


MOST_CHARACTERS = 4000
"""Of a message, for those who watch: it is kept in memory, and worker.log has all of it."""


class _OutboxHandler(logging.Handler):
    def __init__(self, event_queue: EventQueue) -> None:
        super().__init__()
        self._outbox = event_queue

    def emit(self, record: logging.LogRecord) -> None:
        self._outbox.emit(
            LogWritten(level=_level(record.levelno), message=record.getMessage()[:MOST_CHARACTERS])
        )


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
