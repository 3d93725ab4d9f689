"""Where the run of a program lives: in the worker that runs the program, or in the program's own process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import torch.distributed as dist

from torchconsole.engine.client.launcher import new_script_run
from torchconsole.engine.config.script import Script, program_environment
from torchconsole.engine.distributed.program_job import ALONE, NoJob, ProgramJob
from torchconsole.engine.library.following_host import FollowingHost
from torchconsole.engine.library.watched_run import WatchedRun
from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.protocol.events import LogWritten, RunFailed, RunFinished
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import HANDLED_SIGNALS, WorkerLock
from torchconsole.engine.run.membership import Membership, read_membership
from torchconsole.engine.run.registry import default_runs_dir
from torchconsole.engine.run.sockets import close_inherited_sockets
from torchconsole.engine.session.ending import end_at_once
from torchconsole.engine.session.event_queue import EventQueue, open_log
from torchconsole.engine.session.initial_state import initial_state
from torchconsole.engine.session.server import ServerThread
from torchconsole.engine.session.signals import Signals
from torchconsole.engine.training.command_queue import CommandQueue

OUTPUT_ELSEWHERE = "what the program prints is shown where it was started, not here"

CHANGED_SIGNALS = (*HANDLED_SIGNALS, signal.SIGHUP, signal.SIGCONT, signal.SIGALRM)


class Host(Protocol):
    """What a loop needs of the process that it runs in."""

    commands: CommandQueue
    events: EventQueue
    resumes: bool
    """Whether the run continues from its checkpoints."""
    job: NoJob
    """The processes that run the program together."""

    @property
    def ends_with_loop(self) -> bool:
        """Whether the run ends with its loop, and not with the program."""

    @property
    def folder(self) -> RunFolder: ...
    @property
    def exit_status(self) -> int:
        """The exit status after a stop by a signal; 0 if there was none."""

    def begin_training(self) -> object:
        """Note that the preparation is over."""

    def adopt(self, loop: WatchedRun) -> None:
        """Let this loop take the place of what has watched the program until now."""

    def close(self, outcome: RunFinished | RunFailed) -> None:
        """Report how the loop ended, after its last save."""

    def end_program(self) -> None:
        """End the program because of a signal, unless the caller does it by raising its exception again."""


class OwnProcess:
    """A run in the process of a program that was started by `python`. Satisfies Host."""

    resumes = False
    ends_with_loop = True

    def __init__(self, name: str, job: NoJob = ALONE) -> None:
        self.job = job
        script = replace(this_program(), processes=job.size)
        folder = new_script_run(script, default_runs_dir(None), script.name, stem=name)
        _close_sockets_in_children()
        self._lock = WorkerLock(folder.lock_file)
        self._lock.acquire()
        self.commands = CommandQueue()
        state = initial_state(folder.load_record(), folder, script.title, {"script": script.settings})
        self._server = ServerThread(folder, state, self.commands)
        self._server.start()
        self.events = self._server.event_queue
        self._close_log = open_log(self.events, folder.log_file)
        self._signals = _OwnSignals(self.commands)
        place = self._server.place
        place.end = self._signals.end
        place.follow_with(lambda folder: self._lock.follow(folder.lock_file))
        if isinstance(job, ProgramJob):
            job.watch_for_stop(self._stop)
        self.events.emit(LogWritten(level="info", message=OUTPUT_ELSEWHERE))
        print(f"torchconsole: to watch this run: torchconsole attach {folder.name}", file=sys.stderr)
        self.commands.running_user_code.__enter__()

    @property
    def folder(self) -> RunFolder:
        """The run's folder, wherever it is now."""
        return self._server.place.folder

    @property
    def exit_status(self) -> int:
        """The exit status after a stop by a signal."""
        return self._signals.exit_status

    def _stop(self, reason: str) -> None:
        """Stop the run because another process is to end."""
        if not self.commands.stop_requested:
            self.commands.put(f"rank-{reason}", StopRun(reason=reason), by=reason)

    def begin_training(self) -> None:
        """Do nothing: a signal waits for the first step."""

    def adopt(self, loop: WatchedRun) -> None:
        """Have the checkpoints follow a renamed folder, and the loop end if another process has failed."""
        self._server.place.follow_with(lambda folder: loop.checkpoints.move_to(folder.checkpoints))

        def end(reason: str) -> None:
            self.events.emit(RunFailed(reason=reason))
            loop.checkpoints.flush()
            self._server.close()
            end_at_once(1)

        self.job.watch(lambda: loop.progress, self.commands, end)

    def close(self, outcome: RunFinished | RunFailed) -> None:
        """Write everything, and leave the process as it was."""
        self.job.close()
        self.commands.running_user_code.__exit__()
        self._signals.restore()
        self.events.emit(outcome)
        self._server.close()
        self._lock.release()
        self._close_log()

    def end_program(self) -> None:
        """End the program with the exit status of the signal, and without a traceback."""
        name = self.folder.name
        print(f"torchconsole: saved and stopped; to go on: torchconsole resume {name}", file=sys.stderr)
        raise SystemExit(self.exit_status) from None


class _OwnSignals:
    """The worker's handling of signals, except where the program has handlers of its own."""

    def __init__(self, commands: CommandQueue) -> None:
        self._commands = commands
        self._signals: Signals | None = None
        self._before: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers
        self._before = {number: signal.getsignal(number) for number in CHANGED_SIGNALS}
        self._signals = Signals(commands)
        for number, handler in self._before.items():
            # Without its terminal, a program ends as it always did.
            if number == signal.SIGHUP or handler not in (signal.SIG_DFL, signal.default_int_handler):
                self._set(number, handler)
                if number == signal.SIGALRM:
                    commands.on_stop = lambda: None

    @property
    def exit_status(self) -> int:
        return self._signals.exit_status if self._signals else 0

    def end(self, reason: str) -> None:
        """Stop the run for a reason that comes from inside."""
        self._commands.put(f"end-{time.monotonic_ns()}", StopRun(reason=reason), by="torchconsole")

    def restore(self) -> None:
        """Restore the program's handlers."""
        if self._signals is not None:
            self._commands.on_stop = lambda: None
            if self._before[signal.SIGALRM] in (signal.SIG_DFL, None):
                signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in self._before.items():
                self._set(number, handler)

    @staticmethod
    def _set(number: int, handler: Any) -> None:
        if handler is not None:  # None: it was not set by Python
            signal.signal(number, handler)


def this_program() -> Script:
    """Return the command that runs this program."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    env = program_environment({})
    arguments, here = list(sys.argv[1:]), str(Path.cwd())
    if spec is not None and spec.name != "__main__":
        return Script(module=spec.name, args=arguments, folder=here, env=env)
    path = str(Path(file).absolute()) if file else "<interactive>"
    return Script(file=path, args=arguments, folder=here, env=env)


@cache
def _close_sockets_in_children() -> None:
    """Have forked children close the run's sockets; once a process."""
    os.register_at_fork(after_in_child=close_inherited_sockets)


_numbers = count()
"""Of the runs that begin in this process, the same in all processes of a program."""

_worker: list[Host] = []


def set_worker(host: Host) -> None:
    """Note the worker that runs this program."""
    _worker[:] = [host]


def open_host(name: str) -> Host:
    """Return the worker that runs this program; else make this process the place of a new run.

    Of several processes that a launcher has started, only the first one is. Raises RunError, TrainingError.
    """
    if _worker:
        return _worker[0]
    membership = own_membership()
    if membership is None:
        return OwnProcess(name)
    job = ProgramJob(membership, next(_numbers))
    return FollowingHost(job) if membership.rank else OwnProcess(name, job)


def own_membership() -> Membership | None:
    """Return the place of this process among those that run the program together; None if it runs alone.

    What srun has started may also be many programs that have nothing to do with each other. Raises RunError.
    """
    found = read_membership(os.environ)
    return None if found is not None and found.by_slurm and not dist.is_initialized() else found


def processes_here() -> int:
    """Return how many processes share the run of this program, or would share one that begins now."""
    if _worker:
        return _worker[0].job.size
    membership = own_membership()
    return membership.size if membership else 1
