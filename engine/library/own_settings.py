"""The arguments of `torchconsole.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torchconsole.engine.config.schema import EarlyStoppingConfig
from torchconsole.engine.errors import RunError
from torchconsole.engine.library.metric_modes import mode_of
from torchconsole.engine.training.stopping import EarlyStopping

VAL_LOSS = "val/loss"


@dataclass(frozen=True)
class Settings:
    """The arguments of `torchconsole.run`. Raises RunError for wrong ones."""

    name: str = ""
    total_steps: int | None = None
    monitor: str | None = None
    mode: Literal["min", "max"] | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        for key in ("total_steps", "patience"):
            value = getattr(self, key)
            if value is not None and (type(value) is not int or value < 1):
                raise RunError(f"torchconsole.run: {key} is {value!r}, not an integer above 0")
        for key in ("name", "monitor"):
            value = getattr(self, key)
            if not isinstance(value, str) and not (key == "monitor" and value is None):
                raise RunError(f"torchconsole.run: {key} is {value!r}, not a text")
        if self.mode not in (None, "min", "max"):
            raise RunError(f'torchconsole.run: mode is {self.mode!r}, not "min" or "max"')
        self.early_stopping()

    def early_stopping(self) -> EarlyStopping:
        """Return what finds the best evaluation, and counts those without improvement."""
        monitor = self.monitor or VAL_LOSS
        monitor = monitor if "/" in monitor else f"val/{monitor}"
        config = EarlyStoppingConfig(monitor=monitor, mode=self.mode or mode_of(monitor))
        if self.patience is not None:
            config = config.model_copy(update={"patience": self.patience})
        stopping = EarlyStopping(config)
        stopping.stops = self.patience is not None
        return stopping
