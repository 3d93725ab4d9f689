"""The worker's signals: SIGTERM and SIGINT save and stop the run, SIGUSR1 saves, SIGHUP does nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from torchconsole.engine.protocol.commands import SaveCheckpoint, StopRun
from torchconsole.engine.run.processes import HANDLED_SIGNALS, STOP_SIGNALS
from torchconsole.engine.training.command_queue import CommandQueue, Terminated

PATIENCE_SECONDS = 1.0
"""How long a batch may be waited for once the run is to stop."""


class Signals:
    """Installs the handlers. A signal is a command like any other, so that it waits for the step's end and
    cannot break a save. Two things it ends where they stand: a preparation, which takes no commands, and a
    wait for a batch that does not come.

    `exit_status` is what such an end deserves, 0 before a signal came.
    """

    def __init__(self, commands: CommandQueue) -> None:
        self.exit_status = 0
        self._commands = commands
        self._name = ""
        self._raises = False
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_save)
        signal.signal(signal.SIGCONT, self._on_continue)
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)

    @contextmanager
    def ending_preparation(self) -> Iterator[None]:
        """Raises Terminated at a signal that comes inside, or that came before.

        Python drops what is raised in a destructor or a weak reference's callback: the alarm raises it again,
        and so does the end.
        """
        self._raises = True
        try:
            self._check()
            yield
            self._check()
        finally:
            self._raises = False

    def ignore(self) -> None:
        """From here on nothing is to be saved, and what was saved stands: no signal disturbs the end."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (*HANDLED_SIGNALS, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)

    def _check(self) -> None:
        if self._name:
            raise Terminated(f"{self._name} before the training began")

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        """The first one counts: what those after it would ask for is under way. They are ignored, because
        handlers run inside one another, and a flood of them would reach the recursion limit.
        """
        for other in STOP_SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        if self._name:
            return
        self._name = signal.Signals(number).name
        self.exit_status = 128 + number
        self._commands.put(f"signal-{number}", StopRun(reason=self._name), by=self._name)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS, PATIENCE_SECONDS)
        if self._raises:
            self._check()

    def _on_save(self, number: int, _frame: FrameType | None) -> None:
        """Slurm can send it ahead of a job's time limit: `--signal=USR1@120`."""
        name = signal.Signals(number).name
        self._commands.put(f"{name}-{time.monotonic_ns()}", SaveCheckpoint(), by=name)

    def _on_continue(self, _number: int, _frame: FrameType | None) -> None:
        self._commands.was_suspended = True

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        """A while after the signal: is the preparation still going on, or the same wait for data?"""
        if self._raises:
            self._check()
        since = self._commands.waits_since
        if since is not None and time.monotonic() - since >= PATIENCE_SECONDS:
            raise Terminated(f"{self._name} while it waited for data")
