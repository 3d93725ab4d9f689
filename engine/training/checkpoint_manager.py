"""When a checkpoint is taken and what its manifest says; the writer writes it beside the loop."""

from __future__ import annotations

import time

import torch

from torchconsole.engine.protocol.info import Best
from torchconsole.engine.run.manifest import Manifest
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason, SaveJob, to_host
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.train_state import TrainState


class CheckpointManager:
    """Takes checkpoints of a training's state: when asked, and periodically as the preset says."""

    def __init__(self, setup: TrainingSetup, state: TrainState, writer: AsyncCheckpointWriter) -> None:
        self._state = state
        self._writer = writer
        self._every_steps = setup.preset.checkpoint.save_every_steps
        self._interval = 60 * setup.preset.checkpoint.save_every_minutes
        self._next_save = time.monotonic() + self._interval
        self._saved_step = 0

    @property
    def due(self) -> bool:
        """Whether the periodic checkpoint should be taken at this step boundary."""
        step = self._state.progress.step
        if self._every_steps and step % self._every_steps == 0 and step != self._saved_step:
            return True
        return time.monotonic() >= self._next_save

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """Copy the state to the host and hand it to the writer. At step boundaries only.

        A request that comes while another save by hand is being written is answered with that one. The host
        waits for the device here: once a save.
        """
        state, progress = self._state, self._state.progress
        if request and self._writer.join_save(request, progress.revision):
            return
        self._next_save = time.monotonic() + self._interval
        self._saved_step = progress.step
        best = state.early_stopping.best
        manifest = Manifest(
            step=progress.step,
            epoch=progress.epoch,
            revision=progress.revision,
            kept=reason == "command",
            metrics=state.metrics if progress.evaluated == progress.step else {},
            torch=str(torch.__version__),
            best_step=best.step if best else None,
        )
        requests = [request] if request else []
        self._writer.submit(SaveJob(to_host(state.state_dict()), manifest, reason, best, requests))

    def flush(self) -> str:
        """Wait until every checkpoint is on disk; returns why the newest is not, if so."""
        self._writer.flush()
        return self._writer.failure

    def restore_best(self) -> Best | None:
        """Give the model the weights of its best evaluation, and return which; None where there was none.

        Waits until they are on disk. Raises CheckpointError where they cannot be read.
        """
        best = self._state.early_stopping.best
        if best is None or best.step == self._state.progress.step:
            return best
        self.flush()
        self._state.take_weights(self._writer.read_best())
        return best
