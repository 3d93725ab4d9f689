"""Follows the monitored metric: what is best so far, and how long ago that was."""

from __future__ import annotations

import math
from typing import Any

from torchconsole.engine.config.schema import EarlyStoppingConfig
from torchconsole.engine.protocol.info import Best, EarlyStoppingInfo, Metrics


class EarlyStopping:
    """Counts evaluations without an improvement of more than `min_delta`; a NaN never improves.

    Without a configuration it follows val/loss for the best checkpoint and never stops the run.
    """

    def __init__(self, config: EarlyStoppingConfig | None) -> None:
        self.config = config or EarlyStoppingConfig()
        self.stops = config is not None
        self._mode = self.config.mode or "min"
        self.counter = 0
        self.best: Best | None = None

    @property
    def exhausted(self) -> bool:
        """Whether the run should end."""
        return self.stops and self.counter >= self.config.patience

    @property
    def verdict(self) -> str:
        """Why the run ends."""
        return (
            f"early stopping: {self.config.monitor} has not improved for {self.config.patience} evaluations"
        )

    @property
    def target(self) -> float | None:
        """The value that the next evaluation must beat; None before the first."""
        if self.best is None:
            return None
        delta = self.config.min_delta
        return self.best.value - delta if self._mode == "min" else self.best.value + delta

    def update(self, metrics: Metrics, step: int) -> bool:
        """Judge an evaluation after `step`; True when it is the best so far."""
        value = metrics.get(self.config.monitor)
        if value is not None and self._improves(value):
            self.best = Best(metric=self.config.monitor, value=value, step=step)
            self.counter = 0
            return True
        self.counter += 1
        return False

    def info(self) -> EarlyStoppingInfo:
        """Where it stands, as the console shows it."""
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
        """Plain numbers, fit for a checkpoint."""
        return {"counter": self.counter, "best": self.best.model_dump() if self.best else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.counter = state["counter"]
        self.best = Best.model_validate(state["best"]) if state["best"] else None

    def _improves(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.target is None:
            return True
        return value < self.target if self._mode == "min" else value > self.target
