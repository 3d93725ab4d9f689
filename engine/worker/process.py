"""One of the processes that the parent of a run starts: the first is the run's worker, the others follow it.

`python -P -m torchconsole.engine.worker.process FOLDER --parent=PID ...`, with the variables of torchrun.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torchconsole.engine.client.ranks import FOLLOWER, follower_of
from torchconsole.engine.config.script import read_script
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import HANDLED_SIGNALS, STOP_SIGNALS
from torchconsole.engine.run.membership import JOINS, STOP_NOTE, UNTOLD, leaves_others, note_restart
from torchconsole.engine.run.registry import moved_to
from torchconsole.engine.session.ending import end

PR_SET_PDEATHSIG = 1

STOPPED = [128 + number for number in STOP_SIGNALS]
"""Statuses of a worker that a signal has saved and stopped."""


def main(arguments: list[str]) -> int:
    """Lead or follow; return the exit status."""
    path, parent, *options = arguments
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    folder = moved_to(RunFolder(Path(path)))
    is_restarted = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if is_restarted and (_is_to_stop() or _has_ended(folder)):
        return 0  # another process has failed while it ended itself
    if os.environ["RANK"] != "0":
        script = read_script(folder.preset_file)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
        command = [FOLLOWER] if script is None else follower_of(script, resumes="--resume" in options)
        os.execv(sys.executable, [sys.executable, "-P", "-m", *command])
    from torchconsole.engine.worker.main import main as lead

    os.environ[JOINS] = "1"
    words = [_opened(option, parent.partition("=")[2]) for option in options]
    if is_restarted:
        if not _begin_again(folder):
            return 2
        words = ["--resume"]
    status = lead([str(folder.path), *words])
    if status in (0, *STOPPED):  # else the agent would start it again
        return (status or 1) if _leaves_others(folder) else 0
    return status


def _opened(option: str, parent: str) -> str:
    """Return an option with a descriptor of the parent, opened here: the agent closes those it inherits."""
    name, _, number = option.partition("=")
    if name != "--new":
        return option
    return f"{name}={os.open(f'/proc/{parent}/fd/{number}', os.O_WRONLY)}"


def _is_to_stop() -> bool:
    """Whether the parent was told to stop the run, which may have been between two starts."""
    return STOP_NOTE in os.environ and Path(os.environ[STOP_NOTE]).exists()


def _leaves_others(folder: RunFolder) -> bool:
    with suppress(RunError):
        return leaves_others(moved_to(folder).read_record().reason)
    return False


def _has_ended(folder: RunFolder) -> bool:
    """Whether the run has ended as it should: it was stopped, or is finished."""
    with suppress(RunError):
        return folder.read_record().status in ("stopped", "finished")
    return False


def _begin_again(folder: RunFolder) -> bool:
    """Prepare the run's record for a worker that resumes it; return whether the run can go on at all."""
    try:
        record = folder.read_record()
    except RunError:
        return False
    if record.user_error:
        return False
    note_restart(os.environ, record.reason or f"process 0 (pid {record.pid} on {record.host}) {UNTOLD}")
    fresh = replace(
        record, status="starting", reason="", problem="", pid=None, socket="", updated=time.time()
    )
    folder.write_record(fresh)
    return True


if __name__ == "__main__":
    end(main(sys.argv[1:]))
