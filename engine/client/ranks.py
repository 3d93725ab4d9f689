"""Joins a job of several processes that a launcher such as torchrun or srun has started.

The first process starts or resumes the run, like one that is alone; the others become its followers.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torchconsole.engine.client.launcher import KEEP_MEMORY
from torchconsole.engine.config.import_path import worker_environment
from torchconsole.engine.config.script import Script
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import lock_holder
from torchconsole.engine.run.membership import (
    JOINS,
    UNTOLD,
    Membership,
    note_restart,
    own_launch,
    read_membership,
)
from torchconsole.engine.run.registry import list_runs

KILL_SECONDS = 10.0
"""How long the worker before a restart may take to end by itself."""

FOLLOWER = "torchconsole.engine.worker.follower"
SCRIPT_FOLLOWER = "torchconsole.engine.worker.script_follower"


def has_nothing_to_do() -> str:
    """Return why this process leaves a command to the first one of its launcher; empty if it does not.

    For commands that do not train: torchrun has started them several times.
    """
    with suppress(RunError):
        membership = _membership()
        if membership is not None and membership.rank:
            return f"process {membership.rank} of {membership.size} leaves this command to the first one"
    return ""


def follower_of(script: Script, *, resumes: bool = False) -> list[str]:
    """Return the module, and its arguments, that runs a program in a process that does not lead."""
    return [SCRIPT_FOLLOWER, json.dumps(script.content), *(["--resume"] if resumes else [])]


def join_program(script: Script, *, detach: bool, nproc: str | None, resumes: bool = False) -> Script:
    """Return the program with the number of processes of a launcher, if there is one, which run it together.

    In those that do not lead, run it instead of returning. Raises RunError.
    """
    join_ranks(detach=detach, trusts=False, nproc=nproc, script=script, resumes=resumes)
    membership = read_membership(os.environ) if JOINS in os.environ else None
    return replace(script, processes=membership.size) if membership else script


def join_ranks(
    *, detach: bool, trusts: bool, nproc: str | None, script: Script | None = None, resumes: bool = False
) -> None:
    """Replace this process by a follower if it is one of several but not the first.

    Return in the first process, whose worker then leads, and in a process of its own. `trusts`: run the
    preset's Python files without asking; `nproc` is what was given to --nproc. A follower runs the `script`,
    if there is one, which may continue (`resumes`). Raises RunError.
    """
    membership = _membership()
    if membership is None:
        return
    if detach:
        raise RunError(
            f"--detach: a launcher has started {membership.size} processes to train together, and waits for "
            "them; use --headless"
        )
    if nproc is not None:
        raise RunError(
            f"--nproc {nproc}: a launcher has started {membership.size} processes already, which train "
            "together; start the command without --nproc, or without the launcher"
        )
    os.environ[JOINS] = "1"
    if membership.rank:
        follower = (
            follower_of(script, resumes=resumes) if script else [FOLLOWER, *(["--trust"] if trusts else [])]
        )
        command = [sys.executable, "-P", "-m", *follower]
        os.execve(sys.executable, command, KEEP_MEMORY | worker_environment())


def _membership() -> Membership | None:
    """Return the place of this process among those of a launcher; None without one. Raises RunError.

    A shell in an allocation of Slurm or in a pod may have a launcher's variables too, but it has a terminal.
    So may torchrun, whose processes have a variable that no shell has.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ and any(map(os.isatty, (0, 1, 2))):
        return None
    return read_membership(os.environ)


def restarted_run(runs_dir: Path) -> RunFolder | None:
    """Return the run that torchrun's processes trained before it restarted them; None in a first start.

    TORCHELASTIC_RESTART_COUNT does not tell: on a machine where no process has failed, it stays 0. The run's
    worker has ended on return: one that hangs is killed. Raises RunError if the run is not to go on.
    """
    launch = own_launch(os.environ)
    if JOINS not in os.environ or not launch:
        return None
    found = [record for record in list_runs(runs_dir) if record.launch == launch]
    if not found:
        return None
    folder = RunFolder(Path(max(found, key=lambda record: record.created).folder))
    _end_worker(folder)
    record = folder.read_record()
    if record.user_error or record.status in ("stopped", "finished"):
        raise RunError(f"{record.name} is not restarted, since it is {record.status}: {record.reason}")
    reason = record.reason if record.status == "failed" else ""
    note_restart(os.environ, reason or f"process 0 (pid {record.pid} on {record.host}) {UNTOLD}")
    return folder


def _end_worker(folder: RunFolder) -> None:
    deadline = time.monotonic() + KILL_SECONDS
    while holder := lock_holder(folder.lock_file):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(holder, signal.SIGKILL)
        time.sleep(0.02)
