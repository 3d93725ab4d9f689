"""The arithmetic of the learning rate: the schedule's lr times a scale, or an lr that is held.

The engine applies it to the optimizer, and the console's preview shows what a command would do. Torch-free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.commands import HoldLearningRate, ReleaseLearningRate, SetLearningRate

LearningRateCommand = SetLearningRate | HoldLearningRate | ReleaseLearningRate

ROUNDING = 1e-12
"""A schedule that decreases to 0 in steps may miss 0 by this fraction of the base lr."""


@dataclass(frozen=True)
class LrState:
    """What determines the lr of each parameter group at the next step.

    `scheduled` has the schedule's own lr of each group, `base` the lrs before any schedule. While `held` is
    set, it is in force and the schedule continues underneath.
    """

    scale: float
    held: tuple[float, ...] | None
    scheduled: tuple[float, ...]
    base: tuple[float, ...]

    @property
    def lrs(self) -> tuple[float, ...]:
        """The lr in force, one per parameter group."""
        return tuple(lr * self.scale for lr in self.scheduled) if self.held is None else self.held

    @property
    def lr(self) -> float:
        """The lr in force of the first parameter group."""
        return self.lrs[0]

    def after(self, command: LearningRateCommand) -> LrState:
        """Return the state after `command`. A value is for the first group; the others keep their ratio.

        While the lr is held, changes act on the held lr; schedule and scale stay as they are, and a release
        returns to them. Raises CommandRejectedError for a command that would change nothing or cannot be
        carried out.
        """
        match command:
            case SetLearningRate(value=None, factor=factor):
                return self._multiply(1.0 if factor is None else factor)
            case SetLearningRate(value=float(value)):
                return self._set_value(value)
            case HoldLearningRate(value=None):
                if self.held is not None:
                    raise CommandRejectedError(f"the lr is already held at {self.held[0]:.4g}")
                return replace(self, held=self.lrs)
            case HoldLearningRate(value=float(value)):
                return self._hold(value)
            case ReleaseLearningRate():
                if self.held is None:
                    raise CommandRejectedError("the lr is not held")
                return replace(self, held=None)
        raise TypeError(f"not a command about the lr: {command!r}")

    def _multiply(self, factor: float) -> LrState:
        if self.scale == 0 if self.held is None else not any(self.held):
            command = "hold" if self.held is not None or self._schedule_is_zero else "lr"
            raise CommandRejectedError(
                f"the lr was set to 0, which no factor changes; use a value, such as `{command} "
                f"{self.base[0]:g}`"
            )
        if self.held is None:
            return replace(self, scale=_finite(self.scale * factor))
        return replace(self, held=tuple(_finite(lr * factor) for lr in self.held))

    def _set_value(self, value: float) -> LrState:
        if self.held is not None:
            return self._hold(value)
        if self._schedule_is_zero:
            raise CommandRejectedError(
                f"the scheduled lr is 0, so scaling cannot reach {value:g}; use `hold {value:g}`"
            )
        return replace(self, scale=_finite(value / self.scheduled[0]))

    def _hold(self, value: float) -> LrState:
        """Hold the first group at `value`. While the schedule is at 0, the ratio is that of the base lrs."""
        reference = self.base if self._schedule_is_zero else self.scheduled
        return replace(self, held=(value, *(value * (lr / reference[0]) for lr in reference[1:])))

    @property
    def _schedule_is_zero(self) -> bool:
        return abs(self.scheduled[0]) <= ROUNDING * self.base[0]


def _finite(value: float) -> float:
    """Return `value` if it can be an lr or a scale. Raises CommandRejectedError."""
    if not math.isfinite(value):
        raise CommandRejectedError("the resulting lr would not be finite")
    return value
