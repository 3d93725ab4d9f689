"""When a run is over by itself: epochs, steps, minutes, or early stopping."""

from __future__ import annotations

from torchconsole.engine.config.schema import TrainingConfig
from torchconsole.engine.training.early_stopping import EarlyStopping
from torchconsole.engine.training.progress import Progress


class Limits:
    """Knows how long a run may take; the limit that is reached first ends it."""

    def __init__(self, training: TrainingConfig, early_stopping: EarlyStopping) -> None:
        self._epochs = training.epochs
        self._max_steps = training.max_steps
        self._max_seconds = None if training.max_minutes is None else 60 * training.max_minutes
        self._early_stopping = early_stopping

    def verdict(self, progress: Progress) -> str | None:
        """Why the run is over, None while it is not."""
        if progress.epoch >= self._epochs:
            return "all epochs done"
        if self._max_steps is not None and progress.step >= self._max_steps:
            return f"all steps done: training.max_steps is {self._max_steps:,}"
        if self._max_seconds is not None and progress.active_seconds >= self._max_seconds:
            return f"the time is up: training.max_minutes is {self._max_seconds / 60:g}"
        if self._early_stopping.exhausted:
            return self._early_stopping.verdict
        return None
