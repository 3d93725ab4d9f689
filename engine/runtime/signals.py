"""The worker's signals: SIGHUP does nothing, SIGTERM and SIGINT save and stop the run."""

from __future__ import annotations

import signal
from types import FrameType

from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.training.control import CommandQueue


class Terminated(BaseException):
    """Raised in the main thread by a signal that came before there was anything to save.

    Like KeyboardInterrupt it is no Exception, so that no library takes it for an error of its own.
    """


class Signals:
    """Installs the handlers. While a run is being prepared a signal ends it where it stands; once it trains,
    a signal is a command like any other, so that it waits for the step's end and cannot break a save."""

    def __init__(self, commands: CommandQueue) -> None:
        self.exit_status = 0
        self._commands = commands
        self._training = False
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def become_commands(self) -> None:
        """From now on there is a state worth saving."""
        self._training = True

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self.exit_status = 128 + number
        if not self._training:
            raise Terminated(f"{name} before the first step")
        self._commands.put(f"signal-{number}", StopRun(reason=name), by=name)
