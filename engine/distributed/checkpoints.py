"""Checkpoints of several processes: the leader saves, with the random states of all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.config.schema import CheckpointConfig
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.train_state import TrainState


class JointCheckpoints(CheckpointManager):
    """Saves when all processes do. Only the leader writes: to the others, a save is a word with it."""

    def __init__(
        self, config: CheckpointConfig, state: TrainState, writer: AsyncCheckpointWriter, ranks: Ranks
    ) -> None:
        """The `writer` of a process that does not lead is never started."""
        super().__init__(config, state, writer)
        self._joint_state = state
        self._ranks = ranks

    @property
    def due(self) -> bool:
        """Whether all take the periodic checkpoint at this step; one by time is the leader's to ask for."""
        return self.is_step_due

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """See `CheckpointManager`. All processes must call it at the same step."""
        self._joint_state.meter.collect()  # of all processes: the leader would wait for them
        self._joint_state.gather_random()
        self._saved_step = self._joint_state.progress.step
        if self._ranks.leads:
            super().save(reason, request)

    def flush(self) -> str:
        """See `CheckpointManager`."""
        if not self._ranks.leads:
            return ""
        with self._ranks.at_disk():
            return super().flush()

    def restore_best(self, take_weights: Callable[[dict[str, Any]], object]) -> str:
        """See `CheckpointManager`. Only the leader's weights are saved after that."""
        if not self._ranks.leads:
            return ""
        with self._ranks.at_disk():
            return super().restore_best(take_weights)


def no_writer() -> AsyncCheckpointWriter:
    """Return a writer for a process that writes nothing."""
    return AsyncCheckpointWriter(Path("/nonexistent"), -1, lambda event: None)
