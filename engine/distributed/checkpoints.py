"""Checkpoints of several processes: the leader saves, with the random states of all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchconsole.engine.components.shards import Wanted, everything
from torchconsole.engine.config.schema import CheckpointConfig
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.training.abandoned import read_named
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.train_state import TrainState

if TYPE_CHECKING:
    from torchconsole.engine.distributed.job import Job


class JointCheckpoints(CheckpointManager):
    """Saves when all processes do. Only the leader writes: to the others, a save is a word with it."""

    def __init__(
        self, config: CheckpointConfig, state: TrainState, writer: AsyncCheckpointWriter, job: Job
    ) -> None:
        """The `writer` of a process that does not lead is never started."""
        super().__init__(config, state, writer)
        self._joint_state = state
        self._job = job

    @property
    def due(self) -> bool:
        """Whether all take the periodic checkpoint at this step; one by time is the leader's to ask for."""
        return self.is_step_due

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """See `CheckpointManager`. All processes must call it at the same step."""
        self._joint_state.meter.collect()  # of all processes: the leader would wait for them
        self._joint_state.gather_random()
        self._saved_step = self._joint_state.progress.step
        if self._job.leads:
            super().save(reason, request)

    def flush(self) -> str:
        """See `CheckpointManager`."""
        if not self._job.leads:
            return ""
        with self._job.at_disk():
            return super().flush()

    def read(self, name: str | None) -> tuple[Path, dict[str, Any]]:
        """See `CheckpointManager`. The leader chooses and reads it, for all processes."""
        self.flush()
        folder, saved = self._of_leader(name, everything)
        return folder, self._job.share_state(saved)

    def _of_leader(self, name: str | None, is_wanted: Wanted) -> tuple[Path, dict[str, Any] | None]:
        """Return the checkpoint that the leader chooses; its state to the leader only.

        Raises CheckpointError in all processes.
        """
        found: tuple[Path, dict[str, Any] | None] = (self.folder, None)
        problem = ""
        if self._job.leads:
            try:
                with self._job.at_disk():
                    found = read_named(self.folder, name, is_wanted)
            except CheckpointError as error:
                problem = str(error)
        folder, problem = self._job.of_leader((found[0], problem))
        if problem:
            raise CheckpointError(problem)
        return folder, found[1]

    def roll_back(self, folder: Path) -> list[str]:
        """See `CheckpointManager`. The leader's own work."""
        if not self._job.leads:
            return []
        with self._job.at_disk():
            return super().roll_back(folder)

    def restore_best(self, take_weights: Callable[[dict[str, Any]], object]) -> str:
        """See `CheckpointManager`. Only the leader's weights are saved after that."""
        if not self._job.leads:
            return ""
        with self._job.at_disk():
            return super().restore_best(take_weights)


def no_writer() -> AsyncCheckpointWriter:
    """Return a writer for a process that writes nothing."""
    return AsyncCheckpointWriter(Path("/nonexistent"), -1, lambda event: None)
