"""The parent of a run's processes, `python -P -m torchconsole.engine.worker.parent FOLDER --processes=N ...`.

Starts the processes with torchrun's agent, the first of which is the worker of the run. Signals go to that
worker, which stops or saves for all; once it has ended, to those that are left. A worker that waits in torch
for another process, where no signal reaches it, is killed some time after a stop. If a process dies, the
agent ends the others, and starts all again up to `distributed.max_restarts` times; run.json then says which
process has died, and how.
The exit status is that of the first process, or 1.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psutil

from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.config.script import read_script
from torchconsole.engine.distributed.backend_messages import in_words
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import HANDLED_SIGNALS, STOP_SIGNALS, launched_last, lock_holder
from torchconsole.engine.run.membership import (
    BEFORE_TRAINING,
    NOT_GONE_ON,
    NOT_HEARD_OF,
    STOP_NOTE,
    UNTOLD,
    WITHIN_STEP,
)
from torchconsole.engine.run.memory_kills import explain_kill
from torchconsole.engine.run.registry import moved_to
from torchconsole.engine.training.command_queue import INSIST_SECONDS

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
    from torch.distributed.launcher.api import LaunchConfig

log = logging.getLogger(__name__)

PROCESS = "torchconsole.engine.worker.process"
RETRY_SECONDS = 0.1

NOTICE_SECONDS = 20.0
"""After a stop, how long to wait before asking whether the worker has noticed it."""

UNNOTICED_SECONDS = 5.0
"""How long the worker must say nothing then. It says every second that it has noticed the stop."""

TAIL_LINES = 3
MOST_CHARACTERS = 200
"""Lines of a process's last words that go into the reason, and the characters of each."""


def main(arguments: list[str]) -> int:
    """Run the processes until they end; return the exit status."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {*HANDLED_SIGNALS, signal.SIGHUP})
    folder = RunFolder(Path(arguments[0]))
    count = int(_option(arguments, "--processes"))
    with TemporaryDirectory(prefix="torchconsole-") as logs:
        forwarding = _Forwarding(folder, Path(logs))
        threading.Thread(target=forwarding.work, name="signals", daemon=True).start()
        return _run(folder, count, arguments[1:], logs, forwarding)


def _run(folder: RunFolder, count: int, arguments: list[str], logs: str, forwarding: _Forwarding) -> int:
    """Run `count` processes until they end; return the exit status."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    options = [word for word in arguments if not word.startswith("--processes=")]
    command = ["-P", "-m", PROCESS, str(folder.path), f"--parent={os.getpid()}", *options]
    is_program = read_script(folder.preset_file) is not None
    restarts = 0 if is_program else read_preset(folder.preset_file).distributed.max_restarts
    config = _config(count, restarts, logs, shows_all=is_program)
    forwarding.end_starting()
    try:
        elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        if forwarding.has_killed:
            return 0
        launched = os.getppid() if is_program else os.getpid()  # of a program, the relay
        return _report(moved_to(folder), error, Path(logs), launched)
    return 0


def _option(arguments: list[str], name: str) -> str:
    return next(word.partition("=")[2] for word in arguments if word.startswith(f"{name}="))


def _config(count: int, max_restarts: int, logs: str, *, shows_all: bool) -> LaunchConfig:
    """Return how torchrun's agent starts `count` processes of this machine.

    What the followers write to stderr, or if it `shows_all` to stdout too, is shown with their ranks.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.launcher.api import LaunchConfig

    return LaunchConfig(
        run_id=str(os.getpid()),
        role="process",
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=max_restarts,
        monitor_interval=RETRY_SECONDS,
        logs_specs=DefaultLogsSpecs(
            log_dir=logs, tee=dict.fromkeys(range(1, count), Std.ALL if shows_all else Std.ERR)
        ),
        log_line_prefix_template="[process${rank}]: ",
    )


class _Forwarding:
    """Passes the signals of this process on. The processes see in a file whether somebody stops the run."""

    def __init__(self, folder: RunFolder, logs: Path) -> None:
        self._folder = folder
        self._logs = logs
        self._note = logs / "stop"
        self._is_starting = True
        self._has_killed = False
        self._first_stop = 0.0
        self._lock = threading.Lock()
        os.environ[STOP_NOTE] = str(self._note)

    def end_starting(self) -> None:
        """Pass signals on from now on. Before, a stop ends this process, which has started no other yet."""
        with self._lock:
            self._is_starting = False

    @property
    def has_killed(self) -> bool:
        """Whether this has killed the worker, and has written into run.json that the run is stopped."""
        with self._lock:
            return self._has_killed

    def work(self) -> None:
        """Pass signals on to the worker, as soon as there is one; once it has ended, to the others."""
        while True:
            number = signal.sigwait(HANDLED_SIGNALS)
            stops = number in STOP_SIGNALS
            if stops:
                with suppress(FileExistsError):  # from then on, only the worker touches it
                    self._note.touch(exist_ok=False)
                self._stop_here(number)
            while not (receivers := _receivers(self._folder)):
                threading.Event().wait(RETRY_SECONDS)
            for pid, is_worker in receivers.items():
                with suppress(ProcessLookupError):
                    if stops or is_worker:
                        os.kill(pid, number)
                if stops and is_worker:
                    self._kill_later(pid, signal.Signals(number).name)

    def _stop_here(self, number: int) -> None:
        """End the run if none of its processes has been started yet."""
        with self._lock:
            if not self._is_starting:
                return
            with suppress(OSError, RunError):
                folder = moved_to(self._folder)
                reason = f"{signal.Signals(number).name} {BEFORE_TRAINING}"
                folder.write_record(replace(folder.load_record(), status="stopped", reason=reason))
            shutil.rmtree(self._logs, ignore_errors=True)
            os._exit(128 + number)

    def _kill_later(self, worker: int, name: str) -> None:
        """Kill the worker some time after a stop that it has not noticed until then.

        A step is cut short by a second stop only: until then, it is waited for.
        """
        self._first_stop = self._first_stop or time.monotonic()
        ends = {"starting": BEFORE_TRAINING}
        if time.monotonic() - self._first_stop >= INSIST_SECONDS:
            ends["running"] = WITHIN_STEP
        timer = threading.Timer(NOTICE_SECONDS, self._kill, (worker, name, ends))
        timer.daemon = True
        timer.start()

    def _kill(self, worker: int, name: str, ends: Mapping[str, str]) -> None:
        with suppress(OSError, RunError):  # the run has ended meanwhile, and its files are gone
            said = self._note.stat().st_mtime
            threading.Event().wait(UNNOTICED_SECONDS)  # all processes may have been suspended until now
            self._kill_unless_noticed(worker, name, ends, said)

    def _kill_unless_noticed(self, worker: int, name: str, ends: Mapping[str, str], said: float) -> None:
        with self._lock:
            folder = moved_to(self._folder)
            end = ends.get(folder.load_record().status)
            if end is None or self._note.stat().st_mtime != said or _worker_of(folder) != worker:
                return
            log.warning("%s: process 0 (pid %d) does not notice it, and is killed", name, worker)
            self._has_killed = True
            os.kill(worker, signal.SIGKILL)
            while _worker_of(folder) == worker:
                threading.Event().wait(RETRY_SECONDS)
            folder.write_record(replace(folder.load_record(), status="stopped", reason=f"{name} {end}"))


def _receivers(folder: RunFolder) -> dict[int, bool]:
    """Return the pids that a signal is for, and whether it is the worker's; none while that starts."""
    if worker := _worker_of(folder):
        return {worker: True}
    ranks: dict[int, str] = {}
    for child in psutil.Process().children():
        with suppress(psutil.Error, KeyError):  # it has just ended
            ranks[child.pid] = child.environ()["RANK"]
    return {} if "0" in ranks.values() else dict.fromkeys(ranks, False)


def _worker_of(folder: RunFolder) -> int | None:
    try:
        return lock_holder(moved_to(folder).lock_file)
    except OSError:
        return None


def _report(folder: RunFolder, error: ChildFailedError, logs: Path, launched: int) -> int:
    """Write into run.json which process has died, unless the worker has said why; return the exit status.

    A run that another process than the `launched` one has started since is left alone.
    """
    rank, failure = _first(error.failures)
    kills: Mapping[str, int] = {}
    with suppress(OSError, RunError):
        kills = folder.load_record().memory_kills
    reason = _verdict(error.failures, logs) or _describe(rank, failure, logs, kills)
    log.error("%s", reason)
    with suppress(OSError, RunError):  # the worker removes a run that it refuses to start
        record = folder.read_record()
        names_none = rank > 0 and record.reason.startswith(f"another process {UNTOLD}")
        says_why = (failure.exitcode > 0 or UNTOLD not in record.reason) and not names_none
        is_told = record.status == "failed" and says_why
        is_resumed = launched_last(folder.lock_file) != launched
        if not (is_told or is_resumed or record.status in ("stopped", "finished")):
            folder.write_record(replace(record, status="failed", reason=reason, user_error=False))
    status = error.failures[0].exitcode if 0 in error.failures else 1
    return max(status, 1)


def _verdict(failures: Mapping[int, ProcessFailure], logs: Path) -> str:
    """Return what a process has said of one that hangs; empty if none has. The agent kills one that hangs."""
    for rank, failure in failures.items():
        for line in _errors(failure, logs):
            if NOT_GONE_ON in line or NOT_HEARD_OF in line:
                return line.partition(f"process {rank}: ")[2]
    return ""


def _first(failures: Mapping[int, ProcessFailure]) -> tuple[int, ProcessFailure]:
    """Return the process that failed by itself, and its rank: the agent ends the others by SIGTERM."""

    def order(item: tuple[int, ProcessFailure]) -> tuple[bool, bool, int]:
        _, failure = item
        return failure.exitcode == -signal.SIGTERM, failure.exitcode > 0, failure.timestamp

    return min(failures.items(), key=order)


def _describe(rank: int, failure: ProcessFailure, logs: Path, kills: Mapping[str, int]) -> str:
    """Say which process of which machine has ended, how, and what it has said at last."""
    code = failure.exitcode
    if code == -signal.SIGKILL and (why := explain_kill(kills)):
        return f"process {rank} (pid {failure.pid} on {socket.gethostname()}) {why}"
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
    reason = f"process {rank} (pid {failure.pid} on {socket.gethostname()}) {how}"
    words = _last_words(_errors(failure, logs))
    return f"{reason}: {' / '.join(words)}" if words else reason


def _errors(failure: ProcessFailure, logs: Path) -> list[str]:
    """Return what a process has written to stderr since its last start."""
    files = sorted(logs.glob(f"**/{failure.local_rank}/stderr.log"), key=lambda file: file.stat().st_mtime)
    return files[-1].read_text(errors="replace").split("\n") if files else []


def _last_words(lines: list[str]) -> list[str]:
    """Return the last lines, or else a message of NCCL with its meaning, or what faulthandler has said.

    A list of all modules ends what faulthandler says.
    """
    for line in lines:
        if meaning := in_words(line):
            return [f"{meaning}: {line.strip()[:MOST_CHARACTERS]}"]
    if crash := next((line for line in reversed(lines) if line.startswith("Fatal Python error")), ""):
        return [crash]
    return [line.strip()[:MOST_CHARACTERS] for line in lines if line.strip()][-TAIL_LINES:]


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    sys.exit(main(sys.argv[1:]))
