"""When a run ends by itself: after its epochs, steps or minutes, or by early stopping."""

from __future__ import annotations

import math
from typing import Any

from torchconsole.engine.config.schema import EarlyStoppingConfig, Preset
from torchconsole.engine.protocol.info import Best, EarlyStoppingInfo, Metrics
from torchconsole.engine.text import counted
from torchconsole.engine.training.progress import Progress


class EarlyStopping:
    """Tracks the best evaluation, and counts evaluations without an improvement of more than `min_delta`.

    The best is the extreme value seen. The counter has a reference of its own, which moves only when a value
    beats it by more than `min_delta`, so that slow progress in small steps is not taken for none. A value
    that is not finite is never an improvement. Without a configuration this tracks the lowest val/loss for
    the best checkpoint and never stops the run.
    """

    def __init__(self, config: EarlyStoppingConfig | None) -> None:
        self.follow(config)
        self.counter = 0
        self.best: Best | None = None
        self._reference: float | None = None

    def follow(self, config: EarlyStoppingConfig | None) -> None:
        """Stop as this says from now on; the counters stay. The monitored metric must be the same."""
        self.config = config or EarlyStoppingConfig()
        self.stops = config is not None
        self._mode = self.config.mode or "min"

    @property
    def exhausted(self) -> bool:
        """Whether the run should end."""
        return self.stops and self.counter >= self.config.patience

    @property
    def target(self) -> float | None:
        """The value that the next evaluation must beat to reset the counter; None before the first."""
        if self._reference is None:
            return None
        delta = self.config.min_delta
        return self._reference - delta if self._mode == "min" else self._reference + delta

    def update(self, metrics: Metrics, step: int) -> bool:
        """Take in the metrics of an evaluation after `step`; return whether it is the best so far."""
        value = metrics.get(self.config.monitor)
        self.counter += 1
        if value is None or not math.isfinite(value):
            return False
        if self._beats(value, self.target):
            self._reference = value
            self.counter = 0
        if self.best is not None and not self._beats(value, self.best.value):
            return False
        self.best = Best(metric=self.config.monitor, value=value, step=step)
        return True

    def info(self) -> EarlyStoppingInfo:
        """Return the counters as the console shows them."""
        return EarlyStoppingInfo(
            monitor=self.config.monitor,
            mode=self._mode,
            patience=self.config.patience,
            min_delta=self.config.min_delta,
            counter=self.counter,
            best=self.best.value if self.best else None,
            best_step=self.best.step if self.best else None,
            target=self.target,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers for a checkpoint."""
        best = self.best.model_dump() if self.best else None
        return {"counter": self.counter, "best": best, "reference": self._reference}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.counter = state["counter"]
        self.best = Best.model_validate(state["best"]) if state["best"] else None
        self._reference = state["reference"]

    def _beats(self, value: float, other: float | None) -> bool:
        if other is None:
            return True
        return value < other if self._mode == "min" else value > other


class Limits:
    """The limits of a run; the one that is reached first ends it."""

    def __init__(self, preset: Preset, early_stopping: EarlyStopping, *, own_clock: bool = True) -> None:
        self.is_time_up: bool
        """Set from outside, without an own clock: of several processes, one reads it for all."""
        self._own_clock = own_clock
        self._early_stopping = early_stopping
        self.follow_preset(preset)

    def follow_preset(self, preset: Preset) -> None:
        """End the run as the preset says from now on."""
        training = preset.training
        self.is_time_up = False
        self._epochs = training.epochs
        self._max_steps = training.max_steps
        self._max_seconds = None if training.max_minutes is None else 60 * training.max_minutes

    def is_time_over(self, progress: Progress) -> bool:
        """Whether this process has trained for `training.max_minutes`."""
        return self._max_seconds is not None and progress.active_seconds >= self._max_seconds

    def reached(self, progress: Progress) -> str | None:
        """Return why the run is over; None while it is not."""
        if progress.epoch >= self._epochs:
            return "all epochs done"
        if self._max_steps is not None and progress.step >= self._max_steps:
            return f"all steps done: training.max_steps is {self._max_steps:,}"
        time_is_up = self.is_time_over(progress) if self._own_clock else self.is_time_up
        if time_is_up and self._max_seconds is not None:
            return f"the time is up: training.max_minutes is {self._max_seconds / 60:g}"
        if self._early_stopping.exhausted:
            config = self._early_stopping.config
            waited = counted(config.patience, "evaluation")
            by = f" by more than {config.min_delta:g}" if config.min_delta else ""
            return f"early stopping: {config.monitor} has not improved{by} for {waited}"
        return None
