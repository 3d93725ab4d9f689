"""Decides when a checkpoint is taken and what its manifest says; the writer writes it beside the loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from torchconsole.engine.config.resume_policy import Changes
from torchconsole.engine.config.schema import CheckpointConfig, Preset
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.protocol.commands import SaveCheckpoint
from torchconsole.engine.protocol.info import Best, Metrics
from torchconsole.engine.run.checkpoints import Manifest, folder_name
from torchconsole.engine.text import os_error_summary
from torchconsole.engine.training.abandoned import abandon_later, read_named
from torchconsole.engine.training.checkpoint import relink
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason, SaveJob, to_host
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.stopping import EarlyStopping

log = logging.getLogger(__name__)


class SavedState(Protocol):
    """What checkpoints have of a training; `metrics` are those of its last scheduled evaluation."""

    @property
    def progress(self) -> Progress: ...
    @property
    def early_stopping(self) -> EarlyStopping: ...
    @property
    def metrics(self) -> Metrics: ...
    def state_dict(self) -> dict[str, Any]: ...


class CheckpointManager:
    """Takes checkpoints of a training's state: on request, and periodically as configured."""

    def __init__(self, config: CheckpointConfig, state: SavedState, writer: AsyncCheckpointWriter) -> None:
        self._state = state
        self._writer = writer
        self._saved = time.monotonic()
        self._saved_step = 0
        self.reported: dict[int, Changes] = {}
        """Of the steps that roll backs went to: the changes that the journal has there for their settings."""
        self._follow(config)

    def follow_preset(self, preset: Preset) -> None:
        """Save as often, and keep as many checkpoints, as the preset says from now on."""
        self._follow(preset.checkpoint)
        self._writer.keep = preset.checkpoint.keep

    def _follow(self, config: CheckpointConfig) -> None:
        self._every_steps = config.save_every_steps
        self._interval = 60 * config.save_every_minutes
        self._next_save = self._saved + self._interval

    @property
    def due(self) -> bool:
        """Whether the periodic checkpoint should be taken at this step boundary."""
        return self.is_step_due or self.is_time_over

    @property
    def is_step_due(self) -> bool:
        """Whether `checkpoint.save_every_steps` asks for a checkpoint of this step."""
        step, every = self._state.progress.step, self._every_steps
        return every is not None and step % every == 0 and step != self._saved_step

    @property
    def is_time_over(self) -> bool:
        """Whether `checkpoint.save_every_minutes` have passed since the last checkpoint."""
        return time.monotonic() >= self._next_save

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """Copy the state to the host and hand it to the writer; only at step boundaries.

        A request that comes while another requested save of the same state is being written is answered with
        that one. The host waits for the device here, once a save.
        """
        state, progress = self._state, self._state.progress
        kept = reason == "command" and not _is_temporary(request)
        if request and self._writer.join_save(request, progress.revision, kept=kept):
            return
        self._saved = time.monotonic()
        self._next_save = self._saved + self._interval
        self._saved_step = progress.step
        best = state.early_stopping.best
        manifest = Manifest(
            step=progress.step,
            epoch=progress.epoch,
            revision=progress.revision,
            kept=kept,
            metrics=state.metrics if progress.evaluated == progress.step else {},
            torch=str(torch.__version__),
            best_step=best.step if best else None,
        )
        requests = [request] if request else []
        self._writer.submit(SaveJob(to_host(state.state_dict()), manifest, reason, best, requests))

    @property
    def folder(self) -> Path:
        """The folder of checkpoints."""
        return self._writer.folder

    def flush(self) -> str:
        """Wait until every checkpoint is on disk; return why the newest is not, else an empty string."""
        self._writer.flush()
        return self._writer.failure

    def read(self, name: str | None) -> tuple[Path, dict[str, Any]]:
        """Return a checkpoint of this run, and its state for `load_state_dict` of a live training.

        `name` is that of `RollBack`. Waits for saves that are not done yet. Raises CheckpointError, which
        suggests another one if it is damaged.
        """
        self.flush()
        return read_named(self.folder, name)

    def roll_back(self, folder: Path) -> list[str]:
        """Abandon the checkpoints after this one, which the state has just been restored from.

        Returns the new names of those that are kept. Raises OSError, and then removes none.
        """
        kept = abandon_later(self.folder, folder)
        best = self._state.early_stopping.best
        try:
            relink(self.folder, folder, self.folder / folder_name(best.step) if best else folder)
        except OSError as error:  # the next save points the links anew
            log.warning("the links to the best and the last checkpoint: %s", os_error_summary(error))
        self._writer.roll_back(folder, self._state.progress.revision)
        return kept

    def move_to(self, checkpoints: Path) -> None:
        """Save to another folder from now on: the run's folder was renamed."""
        self._writer.move_to(checkpoints)

    def restore_best(self, take_weights: Callable[[dict[str, Any]], object]) -> str:
        """Give the model the weights of its best evaluation; return a clause for the run's reason to end.

        `take_weights` receives the state of that checkpoint. Waits until it is on disk. A best checkpoint
        that cannot be read costs the run nothing else.
        """
        best = self._state.early_stopping.best
        if best is None:
            return ""
        if best.step != self._state.progress.step:
            self.flush()
            try:
                take_weights(self._writer.read_best(best.step))
            except CheckpointError as error:
                return f"; the best weights cannot be restored: {error}"
        return self.restored(best)

    def restored(self, best: Best) -> str:
        """Return the clause that says so of the weights of the best evaluation."""
        return f"; the weights are those of step {best.step:,}, {best.metric} {best.value:.4g}"


def _is_temporary(request: Request | None) -> bool:
    """Whether a checkpoint is asked for that rotation may remove."""
    command = request.command if request else None
    return isinstance(command, SaveCheckpoint) and not command.keep
