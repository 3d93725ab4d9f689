"""The lr that is to come, as it is and as it would be after a command: all that a preview needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.protocol.commands import HoldLearningRate, ReleaseLearningRate, SetLearningRate
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.learning_rate import LearningRateCommand


@dataclass(frozen=True, eq=False)
class Outlook:
    """The first group's lr from the last logged step on: the schedule's times `scale`, or `held`.

    `scheduled` is the schedule's own lr now, None while it is not known. steps, ahead: (N,) steps that are
    left and the schedule's lrs there, as far as the engine has told them.
    """

    scale: float
    held: float | None
    scheduled: float | None
    steps: NDArray[np.int64]
    ahead: NDArray[np.float64]

    @property
    def lr(self) -> float | None:
        """The lr in force; None while it is not known."""
        if self.held is not None:
            return self.held
        return None if self.scheduled is None else self.scheduled * self.scale

    @property
    def values(self) -> NDArray[np.float64]:
        """The lr in force at the steps that are left, shape (N,)."""
        return self.ahead * self.scale if self.held is None else np.full_like(self.ahead, self.held)

    def after(self, command: LearningRateCommand) -> Outlook:
        """What the engine will make of it when it applies `command`: see engine/training/learning_rate.py."""
        match command:
            case HoldLearningRate():
                return replace(self, held=self.lr if command.value is None else command.value)
            case ReleaseLearningRate():
                return replace(self, held=None)
            case SetLearningRate(value=None):
                return self._multiplied(command.factor or 1.0)
            case SetLearningRate() if self.held is not None:
                return replace(self, held=command.value)
            case SetLearningRate():
                return (
                    replace(self, scale=(command.value or 0.0) / self.scheduled) if self.scheduled else self
                )

    def _multiplied(self, factor: float) -> Outlook:
        if self.held is None:
            return replace(self, scale=self.scale * factor)
        return replace(self, held=self.held * factor)


def outlook(run: RunState) -> Outlook:
    """What is to come of the lr of a run."""
    steps, ahead = (run.schedule.scheduled if run.schedule else Points()).arrays()
    scheduled = float(np.interp(run.step + 1, steps, ahead)) if len(steps) else None
    if run.lr_held is None and run.lr is not None and run.lr_scale:
        scheduled = run.lr / run.lr_scale
    left = steps > run.step
    return Outlook(run.lr_scale, run.lr_held, scheduled, steps[left], ahead[left])
