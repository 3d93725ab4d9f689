"""Joins a job of several processes that a launcher such as torchrun or srun has started.

The first process starts or resumes the run, like one that is alone; the others become its followers.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from torchconsole.engine.client.launcher import KEEP_MEMORY
from torchconsole.engine.config.import_path import worker_environment
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.membership import JOINS, Membership, read_membership

FOLLOWER = "torchconsole.engine.worker.follower"


def has_nothing_to_do() -> str:
    """Return why this process leaves a command to the first one of its launcher; empty if it does not.

    For commands that do not train: torchrun has started them several times.
    """
    with suppress(RunError):
        membership = _membership()
        if membership is not None and membership.rank:
            return f"process {membership.rank} of {membership.size} leaves this command to the first one"
    return ""


def join_ranks(*, detach: bool, trusts: bool, nproc: str | None) -> None:
    """Replace this process by a follower if it is one of several but not the first.

    Return in the first process, whose worker then leads, and in a process of its own. `trusts`: run the
    preset's Python files without asking; `nproc` is what was given to --nproc. Raises RunError.
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
        command = [sys.executable, "-P", "-m", FOLLOWER, *(["--trust"] if trusts else [])]
        os.execve(sys.executable, command, KEEP_MEMORY | worker_environment())


def _membership() -> Membership | None:
    """Return the place of this process among those of a launcher; None without one. Raises RunError.

    srun gives its tasks no terminal. A shell in an allocation, which may have the variables of srun too, has
    one.
    """
    membership = read_membership(os.environ)
    if membership is None or (membership.by_slurm and any(map(os.isatty, (0, 1, 2)))):
        return None
    return membership
