"""Checkpoints of a program that several processes train: the first one writes, with the states of all.

What differs between the processes goes through their store, at each save that all make at the same step: all
but that of a new best, which only the first process knows of. Such saves are counted: there may be several at
one step.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from typing import Any

import torch

from torchconsole.engine.components.plain_state import copied
from torchconsole.engine.config.schema import CheckpointConfig
from torchconsole.engine.distributed.checkpoints import no_writer
from torchconsole.engine.distributed.program_job import NoJob
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.library.kept_state import KeptState
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason, to_host
from torchconsole.engine.training.command_queue import Request

log = logging.getLogger(__name__)

INCOMPLETE = (
    "step %s: not all processes have saved at this step, so a resume from this checkpoint will not be exact"
)

NOT_EXACT = (
    "not bit-exact: this checkpoint has the random numbers of the first process only; the others start "
    "with new ones"
)


class LeadingCheckpoints(CheckpointManager):
    """Saves in the first process, with what the others tell of themselves."""

    def __init__(
        self, config: CheckpointConfig, state: KeptState, writer: AsyncCheckpointWriter, job: NoJob
    ) -> None:
        super().__init__(config, state, writer)
        self._kept = state
        self._job = job
        self._saves = 0
        self._saved_alone: int | None = None
        """The revision of the newest state, if it was saved without the others."""

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """See `CheckpointManager`. All but that of a new best are made by all processes at the same step."""
        progress = self._kept.progress
        self._kept.others = None if reason == "best" else self._gather()
        if self._kept.others is not None and self._saved_alone == progress.revision:
            progress.revision += 1  # else the writer would take this state for one that is on disk already
        self._saved_alone = progress.revision if self._kept.others is None else None
        super().save(reason, request)

    def _gather(self) -> list[dict[str, Any]] | None:
        """Return the states of the others; None if one of them does not save: it has ended, for example."""
        self._saves += 1
        step = self._kept.progress.step
        contents = self._job.take(str(self._saves)) or []
        states = [torch.load(io.BytesIO(each), map_location="cpu", weights_only=True) for each in contents]
        if any(state["step"] != step for state in states) or len(states) < self._job.size - 1:
            log.warning(INCOMPLETE, f"{step:,}")
            return None
        return [state["own"] for state in states]


class FollowingCheckpoints(CheckpointManager):
    """Tells the first process, which writes, what the state of this one is."""

    def __init__(self, config: CheckpointConfig, state: KeptState, job: NoJob) -> None:
        super().__init__(config, state, no_writer())
        self._kept = state
        self._job = job
        self._saves = 0

    @property
    def due(self) -> bool:
        """Whether the periodic checkpoint should be taken: the first process asks for it."""
        return False

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """See `CheckpointManager`."""
        if reason == "best":
            return
        self._saves += 1
        content = io.BytesIO()
        torch.save({"step": self._kept.progress.step, "own": to_host(self._kept.own_state())}, content)
        self._job.give(str(self._saves), content.getvalue())

    def flush(self) -> str:
        """Return that nothing has failed."""
        return ""


def part_of(saved: Mapping[str, Any], job: NoJob, kept: KeptState) -> dict[str, Any]:
    """Return a checkpoint as it is for this process. Raises CheckpointError for another number of them."""
    state = dict(saved)
    others = state.pop("other_processes", None)
    if others is None and job.size > 1:
        log.warning(NOT_EXACT)
        return state if job.leads else state | kept.own_randomness()
    before = len(others or []) + 1
    if before != job.size:
        raise CheckpointError(
            f"{before} processes have trained this run, and {job.size} resume it; resume it with {before}"
        )
    return state | copied(others[job.rank - 1]) if others and job.rank else state
