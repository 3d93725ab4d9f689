"""The lr ahead: as scheduled, and as it would be after a command."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.protocol.commands import HoldLearningRate
from torchconsole.engine.protocol.lr_state import LearningRateCommand, LrState
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import RunState


@dataclass(frozen=True, eq=False)
class LrPreview:
    """The lr of the first parameter group after the last logged step.

    `state.scheduled` is nan while the schedule's lr is unknown. steps, ahead: shape (N,), remaining steps and
    the scheduled lrs there, as far as the engine has reported them.
    """

    state: LrState
    steps: NDArray[np.int64]
    ahead: NDArray[np.float64]

    @property
    def lr(self) -> float | None:
        """The current lr; None while it is unknown."""
        return None if math.isnan(self.state.lr) else self.state.lr

    @property
    def values(self) -> NDArray[np.float64]:
        """The lr at the remaining steps, shape (N,)."""
        held = self.state.held
        return self.ahead * self.state.scale if held is None else np.full_like(self.ahead, held[0])

    def after(self, command: LearningRateCommand) -> LrPreview:
        """Return the preview after `command`. Raises CommandRejectedError if the engine will reject it."""
        holds_value = isinstance(command, HoldLearningRate) and command.value is not None
        if self.lr is None and not holds_value:
            return self
        return replace(self, state=self.state.after(command))


def lr_preview(run: RunState) -> LrPreview:
    """Return the lr ahead of a run, without pending changes."""
    steps, ahead = (run.schedule.scheduled if run.schedule else Points()).arrays()
    scheduled = float(np.interp(run.step + 1, steps, ahead)) if len(steps) else math.nan
    if run.lr_held is None and run.lr is not None and run.lr_scale:
        scheduled = run.lr / run.lr_scale
    held = None if run.lr_held is None else (run.lr_held,)
    base = run.schedule.base if run.schedule else 0.0
    left = steps > run.step
    return LrPreview(LrState(run.lr_scale, held, (scheduled,), (base,)), steps[left], ahead[left])
