"""Learning rate schedules: classes of torch.optim.lr_scheduler, one after another.

The chaining is implemented here, because torch's SequentialLR does not support ReduceLROnPlateau and cannot
mix schedulers that step per step and per epoch.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from torchconsole.engine.components.instantiate import UserCode, build, classes_of, find
from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.text import first_line

UNSUPPORTED = {
    "LambdaLR": "it needs a function; use your own scheduler (file.py:Name), or list the lrs with Table",
    "MultiplicativeLR": "it needs a function; use your own scheduler (file.py:Name)",
    "SequentialLR": "several [[schedule]] sections already form a sequence",
    "ChainedScheduler": "it needs schedulers as arguments; several [[schedule]] sections form a sequence",
}
"""Classes of torch.optim.lr_scheduler that a preset cannot use, and why."""

LENGTHS = ("T_max", "total_iters", "total_steps")
"""Arguments for the length of a schedule. If a preset leaves them out, the run's length is filled in."""


DRY_RUN_STEPS = 3


class Table(lr_scheduler.LRScheduler):
    """Sets the lr from a table such as `{"1": 0.1, "30": 0.01}`: step or epoch (from 1) -> lr from then on.

    The lr is that of the first parameter group; the other groups keep their ratio to it. Before the first
    entry the optimizer's own lr applies.
    """

    def __init__(self, optimizer: Optimizer, table: dict[str, float], last_epoch: int = -1) -> None:
        self.table = sorted((int(count), float(lr)) for count, lr in table.items())
        if not self.table or self.table[0][0] < 1 or self.table[0][1] < 0:
            raise ValueError('table must look like {"1": 0.1, "30": 0.01}, with keys from 1 and lrs from 0')
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The lrs of all groups for the current step or epoch."""
        first = self.base_lrs[0]
        reached = [lr for count, lr in self.table if count <= self.last_epoch + 1]
        return [base * (reached[-1] / first) if reached else base for base in self.base_lrs]


def known_schedulers() -> dict[str, type[lr_scheduler.LRScheduler]]:
    """All schedulers that a preset can name."""
    found = classes_of(lr_scheduler, lr_scheduler.LRScheduler)
    return {"Table": Table, **{name: cls for name, cls in found.items() if name not in UNSUPPORTED}}


class ScheduleChain:
    """Sets an optimizer's lr by the parts of a schedule, one after another.

    Each part starts from the optimizer's original settings and counts its own interval from the moment it
    takes over; `until` counts from the start of the run. Raises ComponentError for an unknown scheduler or
    wrong arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parts: Sequence[ScheduleConfig],
        epochs: int,
        steps_per_epoch: int,
        user_code: UserCode,
        max_steps: int | None = None,
    ) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = min(epochs * steps_per_epoch, max_steps or sys.maxsize)
        self._optimizer = optimizer
        self._user_code = user_code
        self._parts = parts
        self._totals = {"step": self.total_steps, "epoch": math.ceil(self.total_steps / steps_per_epoch)}
        self._counts = {"step": 0, "epoch": 0}
        self._base = [_settings(group) for group in optimizer.param_groups]
        self._index = 0
        self._scheduler: lr_scheduler.LRScheduler | None = self._build()

    @property
    def lrs(self) -> list[float]:
        """The lr of each parameter group for the next step."""
        return [float(group["lr"]) for group in self._optimizer.param_groups]

    @property
    def metric(self) -> str | None:
        """The metric that the current part monitors; None if it does not depend on a metric."""
        if isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau):
            return self._parts[self._index].monitor
        return None

    def describe_length_change(self) -> str:
        """Describe how the current and the later parts change if the length of the run changes."""
        if not self._parts:
            return "there is no schedule"
        names = [part.name for part in self._parts]
        later = [names[index] for index in range(self._index + 1, len(names)) if self._is_fitted(index)]
        current = "is stretched to it" if self._is_fitted(self._index) else "stays unchanged"
        return "; ".join(
            [
                f"{names[self._index]} {current}",
                *(f"{name} will be fitted to it later" for name in later),
            ]
        )

    def step(self) -> None:
        """Advance by one optimizer step."""
        self._advance("step")

    def epoch(self) -> None:
        """Advance by one epoch."""
        self._advance("epoch")

    def evaluated(self, metrics: Metrics) -> None:
        """Step by the metrics at the end of an epoch. Raises ComponentError if the monitor is missing."""
        if not isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau):
            return
        monitor = self._parts[self._index].monitor
        if monitor not in metrics:
            known = ", ".join(metrics)
            raise ComponentError(
                f"schedule.{self._index}.monitor: there is no metric {monitor!r}; available: {known}"
            )
        if (value := metrics[monitor]) is not None:
            self._step(value)

    def dry_run(self) -> None:
        """Build and step every part to check its arguments; the chain cannot be used afterwards.

        Raises ComponentError for an unknown scheduler or wrong arguments.
        """
        for index, part in enumerate(self._parts):
            if index:
                self._counts = self._end_of(self._parts[index - 1])
            self._index = index
            self._scheduler = self._build()
            for _ in range(min(DRY_RUN_STEPS, self._length(part))):
                self._step(*((1.0,) if self.metric else ()))

    def state_dict(self) -> dict[str, Any]:
        """The state as plain numbers, for a checkpoint."""
        scheduler = self._scheduler.state_dict() if self._scheduler else None
        groups = [_settings(group) for group in self._optimizer.param_groups]
        return {
            "index": self._index,
            "counts": dict(self._counts),
            "totals": dict(self._totals),
            "scheduler": scheduler,
            "groups": groups,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`.

        If the length of the run has changed since and the current part is fitted to it, the lr is the one
        that the schedule for the new length has at this step.
        """
        self._index = state["index"]
        length_changed = state.get("totals", self._totals) != self._totals
        if length_changed and self._parts and self._is_fitted(self._index):
            self._replay(state["counts"])
        else:
            self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        self._counts = dict(state["counts"])
        self._scheduler = self._build()
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        for group, settings in zip(self._optimizer.param_groups, state["groups"], strict=True):
            group.update(settings)

    def _replay(self, counts: dict[str, int]) -> None:
        """Step through the schedule from its start to `counts`.

        Metrics are not replayed: each part starts afresh, and a part that depends on a metric is never
        fitted.
        """
        self._index, self._counts = 0, {"step": 0, "epoch": 0}
        self._scheduler = self._build()
        for step in range(1, counts["step"] + 1):
            self.step()
            if step % self.steps_per_epoch == 0 and self._counts["epoch"] < counts["epoch"]:
                self.epoch()
        while self._counts["epoch"] < counts["epoch"]:
            self.epoch()

    def _advance(self, interval: str) -> None:
        self._counts[interval] += 1
        if self._scheduler is None:
            return
        part = self._parts[self._index]
        if part.until is not None and self._counts[part.interval] >= part.until:
            self._next_part()
        elif part.interval == interval and self.metric is None:
            self._step()

    def _step(self, *metric: Any) -> None:
        """Step the scheduler; many classes check their arguments only here. Raises ComponentError."""
        assert self._scheduler is not None
        try:
            self._scheduler.step(*metric)
        except Exception as error:
            raise ComponentError(
                f"schedule.{self._index}: {self._parts[self._index].name} cannot step: {first_line(error)}"
            ) from error

    def _next_part(self) -> None:
        if self._index + 1 < len(self._parts):
            self._index += 1
            self._scheduler = self._build()

    def _build(self) -> lr_scheduler.LRScheduler | None:
        """Build the scheduler of the current part on the settings of the preset."""
        if not self._parts:
            return None
        part = self._parts[self._index]
        for group, base in zip(self._optimizer.param_groups, self._base, strict=True):
            group.pop("initial_lr", None)
            group.update(base)
        section = f"schedule.{self._index}"
        factory = self._factory(self._index)
        arguments = self._lengths(factory, part) | part.arguments
        scheduler = build(
            section, factory, lr_scheduler.LRScheduler, {"optimizer": self._optimizer}, arguments
        )
        total = arguments.get("total_steps")
        if isinstance(total, int) and total < (length := self._length(part)):
            raise ComponentError(
                f"{section}.total_steps: {part.name} ends after {total:,} steps, but this part "
                f"lasts {length:,}; remove total_steps, or set `until` and add another part"
            )
        # torch warns if a scheduler steps before its optimizer. This optimizer has no weights to update.
        self._optimizer.step()
        return scheduler

    def _factory(self, index: int) -> Callable[..., Any]:
        section, name = f"schedule.{index}", self._parts[index].name
        if name in UNSUPPORTED:
            raise ComponentError(f"{section}.name: {name} cannot be used: {UNSUPPORTED[name]}")
        return find(section, name, known_schedulers(), self._user_code, lr_scheduler.LRScheduler)

    def _is_fitted(self, index: int) -> bool:
        """Whether a part lasts until the end of the run and gets its length from the run."""
        part = self._parts[index]
        return part.until is None and bool(self._lengths(self._factory(index), part).keys() - part.arguments)

    def _lengths(self, factory: Callable[..., Any], part: ScheduleConfig) -> dict[str, int]:
        taken = inspect.signature(factory).parameters
        return {name: self._length(part) for name in LENGTHS if name in taken}

    def _end_of(self, part: ScheduleConfig) -> dict[str, int]:
        """The counts at which the next part takes over."""
        steps = (part.until or 0) * (1 if part.interval == "step" else self.steps_per_epoch)
        return {"step": steps, "epoch": steps // self.steps_per_epoch}

    def _length(self, part: ScheduleConfig) -> int:
        """The remaining length of a part, in its own interval."""
        return max(1, (part.until or self._totals[part.interval]) - self._counts[part.interval])


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    """A parameter group without its parameters: lr, momentum, betas and other scheduled settings."""
    return {key: value for key, value in group.items() if key != "params"}
