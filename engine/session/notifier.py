"""Tells the user's `[notify]` command and webhook that a run has ended, or has a new best while unwatched."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from torchconsole.engine.config.user_config import NotifyConfig, read_notify_config
from torchconsole.engine.errors import UserConfigError
from torchconsole.engine.protocol.events import CheckpointSaved, Event, LogWritten, RunFailed, RunFinished
from torchconsole.engine.protocol.happenings import LEAST_SECONDS, Happening, happening_of
from torchconsole.engine.run.notification import as_order, message
from torchconsole.engine.session.event_queue import report_error
from torchconsole.engine.session.event_store import EventStore

log = logging.getLogger(__name__)

COMMAND = [sys.executable, "-P", "-m", "torchconsole.engine.run.notify_process"]
MOST_ERROR = 4000


class Notifier:
    """Lives in the server's thread. Whatever happens to a message, the run goes on.

    `is_watched` says whether anybody is attached.
    """

    def __init__(
        self, store: EventStore, is_watched: Callable[[], bool], emit: Callable[[Event], None]
    ) -> None:
        self._store = store
        self._is_watched = is_watched
        self._emit = emit
        self._best = store.state.best.step if store.state.best else None
        self._told = -LEAST_SECONDS
        self._processes: list[subprocess.Popen[bytes]] = []
        self._config()  # a mistake in it is worth knowing before the run ends
        store.subscribe(self._receive)

    def check(self) -> None:
        """Report the messages that could not be delivered."""
        for process in [process for process in self._processes if process.poll() is not None]:
            self._processes.remove(process)
            with process:
                printed = process.stdout.read(MOST_ERROR) if process.stdout else None
            for line in (printed or b"").decode(errors="replace").splitlines():
                self._emit(LogWritten(level="warning", message=line))

    def _receive(self, event: Event) -> None:
        try:
            if happening := self._happening(event):
                self._tell(happening)
        except Exception as error:  # noqa: BLE001 - nothing here may end the server
            self._warn(f"the message about the run cannot be sent: {error}")

    def _happening(self, event: Event) -> Happening | None:
        state = self._store.state
        match event:
            case RunFailed(user_error=True) if not state.step:
                return None  # a refused start, which its launcher shows
            case RunFinished() | RunFailed():
                return happening_of(state.status, event.reason)
            case CheckpointSaved() if event.best is not None and event.best.step != self._best:
                is_first, self._best = self._best is None, event.best.step
                if not (is_first or self._is_watched()) and time.monotonic() - self._told >= LEAST_SECONDS:
                    self._told = time.monotonic()
                    return "best"
        return None

    def _tell(self, happening: Happening) -> None:
        config = self._config()
        if not (config.command or config.webhook):
            return
        order = as_order(config, message(happening, self._store.run_record, self._store.state.metrics))
        process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, cwd="/"
        )
        self._processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        os.set_blocking(process.stdin.fileno(), False)
        with suppress(OSError), process.stdin:
            process.stdin.write(order)

    def _config(self) -> NotifyConfig:
        try:
            return read_notify_config()
        except (UserConfigError, OSError) as error:
            self._warn(str(error))
            return NotifyConfig()

    def _warn(self, message: str) -> None:
        report_error(message, "warning")
        self._emit(LogWritten(level="warning", message=message))
