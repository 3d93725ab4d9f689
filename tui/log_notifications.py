"""Shows the warnings of the console's own process as notifications: nobody sees its standard error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from textual.app import App

from torchconsole.engine.text import printable
from torchconsole.tui.cli.output import describe_record


@contextmanager
def shown_in(app: App[Any]) -> Iterator[None]:
    """Show each warning of this process once in `app`, from whatever thread it comes."""
    handler = _Notifier(app)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Notifier(logging.Handler):
    def __init__(self, app: App[Any]) -> None:
        super().__init__(logging.WARNING)
        self._app = app
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = describe_record(record)
        if message not in self._shown:
            self._shown.add(message)
            self._app.call_later(
                self._app.notify, printable(message), severity="warning", markup=False, timeout=10
            )
