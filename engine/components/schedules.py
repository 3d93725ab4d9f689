"""Learning-rate schedules: classes of torch.optim.lr_scheduler, one after another.

Chaining is ours: torch's SequentialLR refuses ReduceLROnPlateau and knows no mix of step and epoch.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from torchconsole.engine.components.instantiate import UserCode, build, classes_of, find, first_line
from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import Metrics

UNSUPPORTED = {
    "LambdaLR": "it needs a function; name your own scheduler as file.py:Thing, or write the lrs as a Table",
    "MultiplicativeLR": "it needs a function; name your own scheduler as file.py:Thing",
    "SequentialLR": "several [[schedule]] parts are a sequence already",
    "ChainedScheduler": "it needs schedulers as arguments; several [[schedule]] parts follow one another",
}
"""Classes of torch.optim.lr_scheduler that a preset cannot use, and why."""

LENGTHS = ("T_max", "total_iters", "total_steps")
"""Arguments that mean the length of a schedule, filled in from the run when a preset leaves them out."""


TRIED_STEPS = 3


class Table(lr_scheduler.LRScheduler):
    """The lr of the first group from each listed count on, `{"1": 0.1, "30": 0.01}`; counts begin with 1.

    The other groups keep their ratio to the first. Before the first entry the optimizer's own lr is in force.
    """

    def __init__(self, optimizer: Optimizer, table: dict[str, float], last_epoch: int = -1) -> None:
        self.table = sorted((int(count), float(lr)) for count, lr in table.items())
        if not self.table or self.table[0][0] < 1 or self.table[0][1] < 0:
            raise ValueError('table must be like {"1": 0.1, "30": 0.01}, with counts from 1 and lrs from 0')
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The lrs of all groups for the count under way."""
        first = self.base_lrs[0]
        reached = [lr for count, lr in self.table if count <= self.last_epoch + 1]
        return [base * (reached[-1] / first) if reached else base for base in self.base_lrs]


def known_schedulers() -> dict[str, type[lr_scheduler.LRScheduler]]:
    """What a preset may name."""
    found = classes_of(lr_scheduler, lr_scheduler.LRScheduler)
    return {"Table": Table, **{name: cls for name, cls in found.items() if name not in UNSUPPORTED}}


class ScheduleChain:
    """Drives an optimizer's lr through the parts of a schedule, each from its own beginning.

    A part counts in its own interval from the moment it takes over. `until` is counted from the run's start.
    Raises ComponentError where a part does not exist or refuses its arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parts: Sequence[ScheduleConfig],
        epochs: int,
        steps_per_epoch: int,
        own: UserCode,
        max_steps: int | None = None,
    ) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = min(epochs * steps_per_epoch, max_steps or sys.maxsize)
        self._optimizer = optimizer
        self._own = own
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
        """The metric that the part in force goes by; None for one that goes by itself."""
        if isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau):
            return self._parts[self._index].monitor
        return None

    def on_new_length(self) -> str:
        """What becomes of the schedule, from the part in force on, when the run's length changes."""
        if not self._parts:
            return "there is no schedule"
        names = [part.name for part in self._parts]
        later = [names[index] for index in range(self._index + 1, len(names)) if self._is_fitted(index)]
        here = "is stretched to it" if self._is_fitted(self._index) else "goes on unchanged"
        return "; ".join(
            [f"{names[self._index]} {here}", *(f"{name}, still to come, is fitted to it" for name in later)]
        )

    def step(self) -> None:
        """An optimizer step is done."""
        self._advance("step")

    def epoch(self) -> None:
        """An epoch is done."""
        self._advance("epoch")

    def evaluated(self, metrics: Metrics) -> None:
        """The metrics of an epoch's end. Raises ComponentError where the monitored one is not among them."""
        if not isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau):
            return
        monitor = self._parts[self._index].monitor
        if monitor not in metrics:
            known = ", ".join(metrics)
            raise ComponentError(
                f"schedule.{self._index}.monitor: there is no {monitor!r}; there are: {known}"
            )
        if (value := metrics[monitor]) is not None:
            self._step(value)

    def try_out(self) -> None:
        """Build every part and step it, which uses the chain up. Raises ComponentError for what is wrong."""
        for index, part in enumerate(self._parts):
            if index:
                self._counts = self._end_of(self._parts[index - 1])
            self._index = index
            self._scheduler = self._build()
            for _ in range(min(TRIED_STEPS, self._length(part))):
                self._step(*((1.0,) if self.metric else ()))

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, fit for a checkpoint."""
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
        """Go on where `state_dict` was taken.

        Where the run's length has changed since and the part in force is fitted to it, the lr is the one that
        the schedule for the new length has at this place.
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
        """Run through the schedule from its beginning to `counts`. Parts that go by a metric leave no trace:
        each part begins afresh, and those are never fitted."""
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
            self._hand_over()
        elif part.interval == interval and self.metric is None:
            self._step()

    def _step(self, *metric: Any) -> None:
        """Many classes look at their arguments only here. Raises ComponentError."""
        assert self._scheduler is not None
        try:
            self._scheduler.step(*metric)
        except Exception as error:
            raise ComponentError(
                f"schedule.{self._index}: {self._parts[self._index].name} cannot step: {first_line(error)}"
            ) from error

    def _hand_over(self) -> None:
        if self._index + 1 < len(self._parts):
            self._index += 1
            self._scheduler = self._build()

    def _build(self) -> lr_scheduler.LRScheduler | None:
        """The scheduler of the part in force, begun afresh on the settings that the preset gives."""
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
        if isinstance(total, int) and total < (lasts := self._length(part)):
            raise ComponentError(
                f"{section}.total_steps: {part.name} ends after {total} steps, and this part of the schedule "
                f"lasts {lasts:,}: leave it out, or let another part follow"
            )
        # torch warns of a schedule that steps before its optimizer: this one has no weights to update.
        self._optimizer.step()
        return scheduler

    def _factory(self, index: int) -> Callable[..., Any]:
        section, name = f"schedule.{index}", self._parts[index].name
        if name in UNSUPPORTED:
            raise ComponentError(f"{section}.name: {name} cannot be used: {UNSUPPORTED[name]}")
        return find(section, name, known_schedulers(), self._own, lr_scheduler.LRScheduler)

    def _is_fitted(self, index: int) -> bool:
        """Whether a part lasts to the run's end and takes its length from there."""
        part = self._parts[index]
        return part.until is None and bool(self._lengths(self._factory(index), part).keys() - part.arguments)

    def _lengths(self, factory: Callable[..., Any], part: ScheduleConfig) -> dict[str, int]:
        taken = inspect.signature(factory).parameters
        return {name: self._length(part) for name in LENGTHS if name in taken}

    def _end_of(self, part: ScheduleConfig) -> dict[str, int]:
        """The counts at which the part after this one takes over."""
        steps = (part.until or 0) * (1 if part.interval == "step" else self.steps_per_epoch)
        return {"step": steps, "epoch": steps // self.steps_per_epoch}

    def _length(self, part: ScheduleConfig) -> int:
        """What is left to a part, in its interval."""
        return max(1, (part.until or self._totals[part.interval]) - self._counts[part.interval])


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    """A parameter group without its parameters: lr, momentum, betas and what else a schedule may change."""
    return {key: value for key, value in group.items() if key != "params"}
