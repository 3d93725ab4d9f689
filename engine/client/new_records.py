"""The records of runs that are about to start: what is known of them before there is a worker."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from torchconsole.engine.client.processes import Processes
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.membership import JOINS, own_launch, read_membership
from torchconsole.engine.run.memory_kills import read_counters
from torchconsole.engine.run.record import Parent, RunRecord, git_commit, own_versions
from torchconsole.engine.run.slurm import own_job


def new_record(
    folder: RunFolder,
    title: str,
    preset_name: str,
    epochs: int | None,
    details: Mapping[str, int],
    *,
    anyway: bool = False,
) -> RunRecord:
    """Return the record of a new run, with these details of its state."""
    now = time.time()
    return RunRecord(
        name=folder.name,
        folder=str(folder.path),
        preset=preset_name,
        title=title,
        host=socket.gethostname(),
        created=now,
        updated=now,
        total_epochs=epochs,
        versions=own_versions(),
        git_commit=git_commit(),
        memory_kills=read_counters(),
        slurm=own_job(),
        launch=own_launch(os.environ),
        anyway=anyway,
        details=dict(details),
    )


def origin_of(parent: RunFolder, checkpoint: Path, step: int) -> Parent:
    """Return what the record of a run says of the checkpoint of another run that it starts from."""
    return Parent(run=parent.name, folder=str(parent.path), checkpoint=checkpoint.name, step=step)


def count_processes(started: Processes) -> int:
    """Return how many processes train together: those of a launcher, or else those to be started here."""
    membership = read_membership(os.environ) if JOINS in os.environ else None
    return membership.size if membership else started.count


def effective_batch(preset: Preset, processes: int) -> int:
    """Return the samples of a step of all processes."""
    return preset.data.batch_size * preset.training.grad_accum_steps * processes
