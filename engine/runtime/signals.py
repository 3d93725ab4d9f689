"""The worker's signals: SIGHUP does nothing, SIGTERM and SIGINT save and stop the run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.training.control import CommandQueue

STOPPING = frozenset({signal.SIGTERM, signal.SIGINT})
"""Signals that end the run. The launcher blocks them: one that comes before the handlers waits for them."""


class Terminated(BaseException):
    """Raised in the main thread by a signal that came before there was anything to save.

    Like KeyboardInterrupt it is no Exception, so that no library takes it for an error of its own.
    """


class Signals:
    """Installs the handlers. A signal is a command like any other, so that it waits for the step's end and
    cannot break a save. Only a preparation, which takes no commands, is ended by it where it stands.

    `exit_status` is what such an end deserves, 0 before a signal came.
    """

    def __init__(self, commands: CommandQueue) -> None:
        self.exit_status = 0
        self._commands = commands
        self._name = ""
        self._raises = False
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in STOPPING:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    @contextmanager
    def ending_preparation(self) -> Iterator[None]:
        """Raises Terminated at a signal that comes inside, or that came before.

        At the end it looks again: Python drops what is raised in a destructor or a weak reference's callback.
        """
        self._raises = True
        try:
            self._check()
            yield
            self._check()
        finally:
            self._raises = False

    def _check(self) -> None:
        if self._name:
            raise Terminated(f"{self._name} before the training began")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._name = signal.Signals(number).name
        self.exit_status = 128 + number
        if self._raises:
            self._check()
        self._commands.put(f"signal-{number}", StopRun(reason=self._name), by=self._name)
