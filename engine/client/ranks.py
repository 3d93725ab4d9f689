"""Joins a job of several processes that a launcher such as torchrun or srun has started.

The first process starts or resumes the run, like one that is alone; the others become its followers.
"""

from __future__ import annotations

import os
import sys

from torchconsole.engine.client.launcher import KEEP_MEMORY
from torchconsole.engine.config.import_path import worker_environment
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.membership import JOINS, read_membership

FOLLOWER = "torchconsole.engine.worker.follower"


def join_ranks(*, detach: bool, trusts: bool, nproc: str | None) -> None:
    """Replace this process by a follower if it is one of several but not the first.

    Return in the first process, whose worker then leads, and in a process of its own. `trusts`: run the
    preset's Python files without asking. Raises RunError.

    srun gives its tasks no terminal. A shell in an allocation, which may have the variables of srun too, has
    one.
    """
    membership = read_membership(os.environ)
    if membership is None or (membership.by_slurm and any(map(os.isatty, (0, 1, 2)))):
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
