"""The Slurm job that a process belongs to, by its environment variables."""

from __future__ import annotations

import os
from typing import TypedDict


class SlurmJob(TypedDict):
    """A job of Slurm, and how often it was started again, by `scontrol requeue` or because a node failed."""

    id: str
    restarts: int


def own_job() -> SlurmJob | None:
    """Return the job of this process; None outside of Slurm."""
    if not (job := os.environ.get("SLURM_JOB_ID")):
        return None
    restarts = os.environ.get("SLURM_RESTART_COUNT", "")
    return SlurmJob(id=job, restarts=int(restarts) if restarts.isdecimal() else 0)


def has_ended_before(job: SlurmJob | None) -> bool:
    """Whether `job` is an earlier start of the job of this process: none of its processes is left then."""
    own = own_job()
    return (
        job is not None and own is not None and job["id"] == own["id"] and job["restarts"] < own["restarts"]
    )
