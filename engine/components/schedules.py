"""Learning-rate schedules: classes of torch.optim.lr_scheduler, one after another.

Chaining is ours: torch's SequentialLR refuses ReduceLROnPlateau and knows no mix of step and epoch.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from torchconsole.engine.components.instantiate import call, classes_of, pick
from torchconsole.engine.config.schema import ScheduleConfig

LENGTHS = ("T_max", "total_iters", "total_steps")
"""Arguments that mean the length of a schedule, filled in from the run when a preset leaves them out."""


class ScheduleChain:
    """Drives an optimizer's lr through the parts of a schedule, each from its own beginning.

    A part counts in its own interval from the moment it takes over. `until` is counted from the run's start.
    Raises ComponentError where a part does not exist or refuses its arguments.
    """

    def __init__(
        self, optimizer: Optimizer, parts: Sequence[ScheduleConfig], epochs: int, steps_per_epoch: int
    ) -> None:
        self._optimizer = optimizer
        self._parts = parts
        self._totals = {"step": epochs * steps_per_epoch, "epoch": epochs}
        self._counts = {"step": 0, "epoch": 0}
        self._base = [dict(group) for group in optimizer.param_groups]
        self._index = 0
        self._scheduler: lr_scheduler.LRScheduler | None = self._build()

    @property
    def waits_for_metric(self) -> bool:
        """Whether the part in force goes by the monitored metric."""
        return isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau)

    def step(self) -> None:
        """An optimizer step is done."""
        self._advance("step")

    def epoch(self) -> None:
        """An epoch is done."""
        self._advance("epoch")

    def evaluated(self, value: float) -> None:
        """The monitored metric was measured at the end of an epoch."""
        if isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau):
            self._scheduler.step(value)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, fit for a checkpoint."""
        scheduler = self._scheduler.state_dict() if self._scheduler else None
        lrs = [group["lr"] for group in self._optimizer.param_groups]
        return {"index": self._index, "counts": dict(self._counts), "scheduler": scheduler, "lrs": lrs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._counts = dict(state["counts"])
        self._index = state["index"]
        self._scheduler = self._build()
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        for group, lr in zip(self._optimizer.param_groups, state["lrs"], strict=True):
            group["lr"] = lr

    def _advance(self, interval: str) -> None:
        self._counts[interval] += 1
        if self._scheduler is None:
            return
        part = self._parts[self._index]
        if part.until is not None and self._counts[part.interval] >= part.until:
            self._hand_over()
        elif part.interval == interval and not self.waits_for_metric:
            self._scheduler.step()

    def _hand_over(self) -> None:
        if self._index + 1 < len(self._parts):
            self._index += 1
            self._scheduler = self._build()

    def _build(self) -> lr_scheduler.LRScheduler | None:
        """The scheduler of the part in force, begun afresh on the lrs that the preset gives."""
        if not self._parts:
            return None
        part = self._parts[self._index]
        for group, base in zip(self._optimizer.param_groups, self._base, strict=True):
            group.pop("initial_lr", None)
            group["lr"] = base["lr"]
        section = f"schedule.{self._index}"
        factory = pick(section, part.name, classes_of(lr_scheduler, lr_scheduler.LRScheduler))
        arguments = self._lengths(factory, part) | part.arguments
        scheduler: lr_scheduler.LRScheduler = call(
            section, factory, {"optimizer": self._optimizer}, arguments
        )
        # torch warns of a schedule that steps before its optimizer: this one has no weights to update.
        self._optimizer.step()
        return scheduler

    def _lengths(self, factory: type, part: ScheduleConfig) -> dict[str, int]:
        begin = self._counts[part.interval]
        end = part.until or self._totals[part.interval]
        taken = inspect.signature(factory).parameters
        return {name: max(1, end - begin) for name in LENGTHS if name in taken}
