"""Where a program's loop runs in a process of several that does not lead."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch.distributed as dist

from torchconsole.engine.distributed.program_job import NoJob, ProgramJob
from torchconsole.engine.errors import RunError
from torchconsole.engine.library.watched_run import WatchedRun
from torchconsole.engine.protocol.events import RunFailed, RunFinished
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import STOP_SIGNALS
from torchconsole.engine.session.ending import end_at_once
from torchconsole.engine.session.event_queue import EventQueue, Nowhere, report_error
from torchconsole.engine.training.command_queue import CommandQueue


class FollowingHost:
    """A process that has no run, and does what the first process is told. Satisfies own_host.Host.

    A signal that ends this process stops all of them; a second one ends it at once, and so does the first one
    before the program's first step and its process group: the first process may be gone then.
    """

    def __init__(self, job: ProgramJob, *, resumes: bool = False) -> None:
        self.resumes = resumes
        self.job: NoJob = job
        self.exit_status = 0
        """The exit status after a stop by a signal to this process."""
        self.commands = CommandQueue()
        self.events: EventQueue = Nowhere()
        self.run: WatchedRun
        """What counts the steps now."""
        self._retire: Callable[[], object] | None = None
        self._is_adopted = False
        self._before: dict[int, object] = {}
        self._ask_to_stop = job.ask_to_stop

    @property
    def ends_with_loop(self) -> bool:
        """Whether this process has begun to follow with its loop, and not with the program."""
        return self._retire is None

    @property
    def folder(self) -> RunFolder:
        """A folder that nothing is written to."""
        return RunFolder(Path())

    def begin_training(self) -> None:
        """Do nothing: the first process reports it."""

    def watch(self, run: WatchedRun, retire: Callable[[], object]) -> None:
        """Note what watches the program until it says itself what it does, and how to end that."""
        self.run, self._retire = run, retire
        self._handle_signals()
        self.job.watch(lambda: self.run.progress, self.commands, self._end)

    def adopt(self, loop: WatchedRun) -> None:
        """See `own_host.Host`. Raises RunError the second time in a worker."""
        if self._retire is None:
            self.job.watch(lambda: loop.progress, self.commands, self._end)
        else:
            if self._is_adopted:
                raise RunError(
                    "torchconsole.run for the second time: `torchconsole run` makes one run of a program"
                )
            self._is_adopted = True
            self._retire()
        self.run = loop
        if self._retire is None:
            self._handle_signals()

    def close(self, outcome: RunFinished | RunFailed) -> None:
        """Leave the process as it was: the first one reports how the loop has ended."""
        if self._retire is None:
            self.job.close()
            for number, handler in self._before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _end(self, reason: str) -> None:
        """End this process from another thread: it waits in torch for one that has failed."""
        report_error(f"process {self.job.rank}: {reason}")
        end_at_once(1)

    def end_program(self) -> None:
        """End the program because of a signal; in a worker, the exception ends it."""
        if self._retire is None:
            raise SystemExit(self.exit_status) from None

    def _handle_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers

        def stop(number: int, _frame: FrameType | None) -> None:
            signal.signal(number, signal.SIG_DFL)
            self.exit_status = 128 + number
            self._ask_to_stop(signal.Signals(number).name)
            if not (self.run.has_begun or dist.is_initialized()):
                signal.raise_signal(number)

        for number in STOP_SIGNALS:
            before = signal.getsignal(number)
            if before in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = before
                signal.signal(number, stop)
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:  # saves, in the first process
            self._before[signal.SIGUSR1] = signal.SIG_DFL
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
