"""The learning rate in force: the schedule's value times a scale that people may change mid-run.

The schedule drives a shadow of the optimizer, so that a change by hand never fights it, the ratios between
parameter groups stay, and schedulers that overwrite an lr (OneCycleLR, warm restarts) do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from torchconsole.engine.components.own_code import OwnCode
from torchconsole.engine.components.schedules import ScheduleChain
from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.events import Metrics

CYCLED = ("momentum", "betas")
"""Settings that some schedules cycle along with the lr; copied unscaled."""


class ShadowOptimizer(Optimizer):
    """The optimizer that a schedule sees: the real one's groups and settings, and nothing to update."""

    def __init__(self, optimizer: Optimizer) -> None:
        groups = [
            {**{key: value for key, value in group.items() if key != "params"}, "params": [torch.zeros(())]}
            for group in optimizer.param_groups
        ]
        super().__init__(groups, dict(optimizer.defaults))

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do nothing: there are no weights here."""


class LearningRate:
    """Schedule x scale, written into the optimizer's groups after every step.

    Raises ComponentError where the schedule cannot be built.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parts: Sequence[ScheduleConfig],
        epochs: int,
        steps_per_epoch: int,
        own: OwnCode | None = None,
        max_steps: int | None = None,
    ) -> None:
        self.scale = 1.0
        self._optimizer = optimizer
        self._shadow = ShadowOptimizer(optimizer)
        self._chain = ScheduleChain(self._shadow, parts, epochs, steps_per_epoch, own or OwnCode(), max_steps)
        self._scheduled = bool(parts)
        self._write()

    @property
    def current(self) -> float:
        """The lr of the first parameter group that the next step will use."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """An optimizer step is done."""
        if self._scheduled:
            self._chain.step()
            self._write()

    def epoch(self) -> None:
        """An epoch is done."""
        self._chain.epoch()
        self._write()

    def evaluated(self, metrics: Metrics) -> None:
        """The metrics of an epoch's end, for schedules that go by one."""
        self._chain.evaluated(metrics)
        self._write()

    def multiply(self, factor: float) -> None:
        """Scale what is in force by `factor`."""
        self.scale *= factor
        self._write()

    def set_value(self, value: float) -> None:
        """Make `value` the first group's lr for the next step, by the scale that gives it.

        Raises CommandRejectedError while the schedule stands at 0, where no scale can.
        """
        scheduled = float(self._shadow.param_groups[0]["lr"])
        if scheduled == 0:
            raise CommandRejectedError(
                "the schedule stands at 0, so no scale of it gives another lr: hold one"
            )
        self.scale = value / scheduled
        self._write()

    def on_new_length(self) -> str:
        """What becomes of the schedule when the run's length changes, in words."""
        return self._chain.on_new_length()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, fit for a checkpoint."""
        return {"scale": self.scale, "chain": self._chain.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.scale = state["scale"]
        self._chain.load_state_dict(state["chain"])
        self._write()

    def _write(self) -> None:
        for real, shadow in zip(self._optimizer.param_groups, self._shadow.param_groups, strict=True):
            real["lr"] = shadow["lr"] * self.scale
            for key in CYCLED:
                if key in shadow:
                    real[key] = shadow[key]
