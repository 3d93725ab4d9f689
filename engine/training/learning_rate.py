"""The learning rate in effect: the schedule's value times a scale that the user may change, or a held value.

The schedule drives a shadow of the optimizer, so that it never undoes a change by hand, the ratios between
parameter groups stay, and schedulers that overwrite an lr (OneCycleLR, warm restarts) do no harm.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.plain_state import copied, encode, is_same
from torchconsole.engine.components.schedule_part import CYCLED, ShadowOptimizer
from torchconsole.engine.components.schedules import ScheduleSequence
from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.protocol.lr_state import LearningRateCommand, LrState
from torchconsole.engine.training.preserve import preserve
from torchconsole.engine.training.randomness import random_state


class LearningRate:
    """Writes schedule x scale, or the held lr, into the optimizer's groups after every step.

    While the lr is held, changes by hand change the held value; schedule and scale stay as they are, and a
    release returns to them. Raises ComponentError if the schedule cannot be built.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parts: Sequence[ScheduleConfig],
        epochs: int,
        steps_per_epoch: int,
        user_code: UserCode | None = None,
        max_steps: int | None = None,
    ) -> None:
        self.scale = 1.0
        self._held: tuple[float, ...] | None = None
        self._optimizer = optimizer
        self._unscheduled = ShadowOptimizer(optimizer)
        self._base = tuple(float(group["lr"]) for group in self._unscheduled.param_groups)
        self._plan = (parts, epochs, steps_per_epoch, user_code or UserCode(), max_steps)
        self._shadow = ShadowOptimizer(optimizer)
        self._schedule = ScheduleSequence(self._shadow, *self._plan)
        with preserve([], others=self.schedulers):
            before = self._random_and_own()
            ScheduleSequence(ShadowOptimizer(optimizer), *self._plan).dry_run()
            self.shares_state = not is_same(before, self._random_and_own())
        """Whether a copy of the schedule changes this one, or draws from the generators of the process."""
        self._scheduled = bool(parts)
        self._write()

    @property
    def state(self) -> LrState:
        """What determines the lr of the next step."""
        return LrState(self.scale, self._held, tuple(self.scheduled), self._base)

    @property
    def schedulers(self) -> list[object]:
        """The schedulers that are in effect now. A copy of the schedule may share generators with them."""
        return [member.scheduler for member in self._schedule.members]

    @property
    def base(self) -> float:
        """The first parameter group's lr before any schedule."""
        return self._base[0]

    @property
    def current(self) -> float:
        """The lr of the first parameter group for the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def held(self) -> float | None:
        """The held lr of the first parameter group; None while the schedule is in effect."""
        return None if self._held is None else self._held[0]

    @property
    def scheduled(self) -> list[float]:
        """The scheduled lr of each parameter group for the next step, before scale and hold."""
        return self._schedule.lrs

    def step(self) -> None:
        """Advance the schedule after an optimizer step."""
        if self._scheduled:
            self._schedule.step()
            self._write()

    def epoch(self) -> None:
        """Advance the schedule after an epoch."""
        self._schedule.epoch()
        self._write()

    def evaluated(self, metrics: Metrics) -> bool:
        """Pass metrics to schedules that depend on one; return whether that changed the lr."""
        before = self.scheduled
        self._schedule.evaluated(metrics)
        self._write()
        return self.scheduled != before

    def apply(self, command: LearningRateCommand) -> None:
        """Apply a command from the next step on. Raises CommandRejectedError and then changes nothing."""
        after = self.state.after(command)
        self.scale, self._held = after.scale, after.held
        self._write()

    def describe_length_change(self) -> str:
        """Describe what happens to the schedule when the length of the run changes."""
        return self._schedule.describe_length_change()

    def copy_schedule(self) -> ScheduleSequence:
        """Return a copy of the schedule at its current point, to be run ahead."""
        twin = ScheduleSequence(ShadowOptimizer(self._unscheduled), *self._plan)
        twin.load_state_dict(copy.deepcopy(self._schedule.state_dict()))
        return twin

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers for a checkpoint."""
        held = None if self._held is None else list(self._held)
        return {"scale": self.scale, "held": held, "schedule": self._schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.scale = state["scale"]
        held = state["held"]
        self._held = None if held is None else tuple(held)
        self._schedule.load_state_dict(state["schedule"])
        self._write()

    def _random_and_own(self) -> Any:
        return copied(encode([random_state(), self._schedule.state_dict()]))

    def _write(self) -> None:
        for number, (real, shadow) in enumerate(
            zip(self._optimizer.param_groups, self._shadow.param_groups, strict=True)
        ):
            real["lr"] = shadow["lr"] * self.scale if self._held is None else self._held[number]
            for key in CYCLED:
                if key in shadow:  # copied unscaled, even while the lr is held
                    real[key] = shadow[key]
