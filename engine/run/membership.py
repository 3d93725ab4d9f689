"""Whether a launcher (torchrun, srun, a Kubernetes PyTorchJob) started this process as one of several."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.liveness import boot_id, start_ticks

JOINS = "TORCHCONSOLE_JOINS"
"""Variable of a worker that is to train with the other processes of its launcher."""

RESTARTED = "TORCHCONSOLE_RESTARTED"
"""Variable of a worker that the launcher has started again: why, as a line for the log."""

UNTOLD = "has ended"
"""Part of the reason of a run if a process of several could not say why it ended."""

BEFORE_TRAINING = "before the training began"
"""End of the reason of a run that a signal has stopped before its first step."""

WITHIN_STEP = "within a step, which is not saved; resume from the last checkpoint"
"""End of the reason of a run that was stopped without waiting for the end of a step."""

HANGING = (
    "the run has not stopped yet, because a step or an evaluation is still under way; stop again to end it "
    "without waiting (a step that is cut short is not saved)"
)
"""Warning of a run that waits for a step after a stop."""

STOP_NOTE = "TORCHCONSOLE_STOP_NOTE"
"""Variable of the processes that a parent has started: the file that it makes when somebody stops the run.

The worker touches it every second from then on, as long as a signal reaches its Python code."""

NOT_GONE_ON, NOT_HEARD_OF = "not gone on for", "not been heard of for"
"""Parts of the reason of a run if a process of several hangs: the others have found that out."""

FIRST_PORT, PORTS = 20_000, 10_000
"""Where the processes of a Slurm job meet unless MASTER_PORT says so; the number of the job chooses one."""

HOSTS = re.compile(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?")
"""The first host of a list of Slurm's: `gpu7,gpu9`, `gpu[07-09,12]` or `gpu[07-09]-ib`."""


def leaves_others(reason: str) -> bool:
    """Whether a run was stopped for this reason while its other processes know nothing of it.

    The launcher ends them if the first process then exits with a status that is not 0.
    """
    return reason.endswith((BEFORE_TRAINING, WITHIN_STEP))


@dataclass(frozen=True)
class Membership:
    """The place of this process among those that train together."""

    rank: int
    """Number of the process, from 0. The first one leads."""
    size: int
    """Number of processes, at least 2."""
    local_rank: int
    """Number of the process on its machine, from 0."""
    local_size: int
    """Number of processes on this machine, as far as the launcher says."""
    host: str
    """Where the processes meet."""
    port: int
    attempt: str
    """How often the launcher has restarted the processes, as far as it says."""
    launcher_hosts: bool
    """Whether the launcher runs the store where they meet; else the first process does."""
    by_slurm: bool
    """Whether srun is the launcher, which may have given each process GPUs of its own."""


def read_membership(environment: Mapping[str, str]) -> Membership | None:
    """Return the place that a launcher's variables give; None without a launcher, or for a single process.

    torchrun and Kubernetes set RANK, WORLD_SIZE and MASTER_*; srun sets SLURM_* in each step, which a batch
    script itself does not have. Raises RunError if the variables do not fit together.
    """
    by_slurm = "RANK" not in environment
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS") if by_slurm else ("RANK", "WORLD_SIZE")
    if not environment.get(names[1], "").isdecimal() or names[0] not in environment:
        return None
    rank, size = (_number(environment, name) for name in names)
    if size <= 1:
        return None
    if rank >= size:
        raise RunError(f"{names[0]} is {rank}, but {names[1]} is {size}; unset both, or start all processes")
    host = environment.get("MASTER_ADDR") or (_first_host(environment) if by_slurm else "")
    if not host:
        raise RunError(
            f"{names[0]} is set, but not MASTER_ADDR: set it to the host of rank 0, or use torchrun"
        )
    job = int(environment.get("SLURM_JOB_ID", "0")) + int(environment.get("SLURM_STEP_ID", "0"))
    port = _number(environment, "MASTER_PORT", str(FIRST_PORT + job % PORTS) if by_slurm else None)
    return Membership(
        rank=rank,
        size=size,
        local_rank=_number(environment, "SLURM_LOCALID" if by_slurm else "LOCAL_RANK", "0"),
        local_size=_local_size(environment, by_slurm=by_slurm),
        host=host,
        port=port,
        attempt=environment.get("TORCHELASTIC_RESTART_COUNT") or environment.get("SLURM_RESTART_COUNT", "0"),
        launcher_hosts=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        by_slurm=by_slurm,
    )


def own_launch(environment: Mapping[str, str]) -> str:
    """Return what identifies the torchrun that is the parent of this process; empty if another program is.

    It stays the same when torchrun restarts the processes. Ids of processes are reused, but not together with
    their start.
    """
    if "TORCHELASTIC_RUN_ID" not in environment:
        return ""
    parent = os.getppid()
    return f"{parent} {start_ticks(parent) or 0} {boot_id()}"


def note_restart(environment: MutableMapping[str, str], reason: str) -> None:
    """Have the worker of a run that its launcher has started again after a failure write a line about it."""
    restart = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
    most = environment.get("TORCHELASTIC_MAX_RESTARTS", "0")
    # On a machine of several where no process has failed, torchrun counts no restart.
    count = f" (restart {restart} of {most})" if restart != "0" else ""
    environment[RESTARTED] = f"restarted from the last checkpoint{count} after: {reason}"


def _number(environment: Mapping[str, str], name: str, default: str | None = None) -> int:
    text = environment.get(name, default)
    if text is None:
        raise RunError(f"{name} is not set, though this process is one of several; start it with torchrun")
    if not text.isdecimal():
        raise RunError(f"{name} is {text!r}, which is not a number")
    return int(text)


def _local_size(environment: Mapping[str, str], *, by_slurm: bool) -> int:
    """Return the processes on this machine; of Slurm's `4(x2),3` the first number, the largest one."""
    name = "SLURM_STEP_TASKS_PER_NODE" if by_slurm else "LOCAL_WORLD_SIZE"
    found = re.match(r"[1-9]\d*", environment.get(name, ""))
    return int(found[0]) if found else 1


def _first_host(environment: Mapping[str, str]) -> str:
    found = HOSTS.match(environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", ""))
    return "".join(filter(None, found.groups())) if found else ""
