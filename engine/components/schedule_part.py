"""One part of an lr schedule in effect: one scheduler of torch, or several whose factors multiply."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.optim import Optimizer, lr_scheduler

from torchconsole.engine.components.instantiate import UserCode, build
from torchconsole.engine.components.scheduler_state import SchedulerState
from torchconsole.engine.components.schedulers import find_scheduler, left_out_lengths
from torchconsole.engine.components.user_errors import describe_error
from torchconsole.engine.config.schedule_units import CHAINED, Interval
from torchconsole.engine.config.schema import ScheduleConfig, SchedulerConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.info import Metrics

CYCLED = ("momentum", "betas")
"""Settings that some schedulers cycle along with the lr."""

CHAINABLE = (
    lr_scheduler.ConstantLR,
    lr_scheduler.CosineAnnealingLR,
    lr_scheduler.ExponentialLR,
    lr_scheduler.LinearLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.PolynomialLR,
    lr_scheduler.ReduceLROnPlateau,
    lr_scheduler.StepLR,
)
"""Classes that compute an lr from the present one. The others overwrite what further schedulers did to it."""


class ShadowOptimizer(Optimizer):
    """The optimizer that a schedule sees: the groups and settings of another one, but no weights."""

    def __init__(self, optimizer: Optimizer) -> None:
        groups = [{**settings_of(group), "params": [torch.zeros(())]} for group in optimizer.param_groups]
        super().__init__(groups, dict(optimizer.defaults))

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do nothing: there are no weights."""


class Member(NamedTuple):
    """A scheduler with its section of the preset and its key in it."""

    section: str
    config: SchedulerConfig
    scheduler: lr_scheduler.LRScheduler

    @property
    def by_metric(self) -> bool:
        """Whether it advances by a metric instead of steps or epochs."""
        return isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau)


class SchedulePart:
    """Sets the lr of `optimizer` by the schedulers of one part, whose intervals are known.

    Schedulers of a ChainedScheduler that compute the lr from the present one work on the same groups, as in
    torch. Each of the others gets a copy of the optimizer, and the ratio of its lr to the initial one is a
    further factor. `length` returns how many steps or epochs (its interval) a scheduler lasts.

    Raises ComponentError for an unknown scheduler or wrong arguments.
    """

    def __init__(
        self,
        section: str,
        part: ScheduleConfig,
        optimizer: Optimizer,
        length: Callable[[SchedulerConfig], int],
        user_code: UserCode,
    ) -> None:
        self._optimizer = optimizer
        self._length = length
        self._base = [float(group["lr"]) for group in optimizer.param_groups]
        self._own: list[Optimizer] = []
        """The optimizers of schedulers that overwrite the lr."""
        self.members: list[Member] = []
        factories = [
            (f"{section}{key}", config, find_scheduler(f"{section}{key}", config.name, user_code))
            for key, config in part.members.items()
        ]
        is_shared = [len(factories) == 1 or factory in CHAINABLE for _, _, factory in factories]
        if part.name == CHAINED and part.arguments:
            raise ComponentError(
                f"{section}.{next(iter(part.arguments))}: {CHAINED} takes no such argument; set it for "
                "one of its schedulers"
            )
        # Where a scheduler has an optimizer of its own, the rest share a copy, and `_multiply` sets the lr.
        self._shared = optimizer if all(is_shared) else ShadowOptimizer(optimizer)
        copies = [None if shared else ShadowOptimizer(optimizer) for shared in is_shared]
        for (key, config, factory), copy in zip(factories, copies, strict=True):
            if copy is not None:
                self._own.append(copy)
            arguments = dict.fromkeys(left_out_lengths(factory, config), length(config)) | config.arguments
            given = {"optimizer": copy or self._shared}
            scheduler = build(key, factory, lr_scheduler.LRScheduler, given, arguments)
            _check_length(key, config, arguments.get("total_steps"), length(config))
            self.members.append(Member(key, config, scheduler))
        for each in (self._shared, *self._own):
            # torch warns if a scheduler steps before its optimizer. This one has no weights to update.
            each.step()
        self._multiply()
        self._states = [SchedulerState(member.section, member.scheduler) for member in self.members]

    @property
    def metric(self) -> str | None:
        """The metric that it monitors; None if it does not depend on one."""
        return next((member.config.monitor for member in self.members if member.by_metric), None)

    def advance(self, interval: Interval) -> None:
        """Step the schedulers that count this interval. Raises ComponentError if one cannot."""
        for member in self.members:
            if member.config.interval == interval and not member.by_metric:
                _step(member)
        self._multiply()

    def evaluated(self, metrics: Metrics) -> None:
        """Step the schedulers that monitor a metric. Raises ComponentError if there is no such metric."""
        for member in self.members:
            if not member.by_metric:
                continue
            monitor = member.config.monitor
            if monitor not in metrics:
                known = ", ".join(metrics)
                raise ComponentError(
                    f"{member.section}.monitor: there is no metric {monitor!r}; available: {known}"
                )
            # nan is no improvement: a metric that cannot be computed, or is not finite.
            value = metrics[monitor]
            _step(member, math.nan if value is None else value)
        self._multiply()

    def try_steps(self, most: int) -> None:
        """Take a few steps with each scheduler; many check their arguments only there."""
        for member in self.members:
            for _ in range(min(most, self._length(member.config))):
                _step(member, *((1.0,) if member.by_metric else ()))

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers for a checkpoint."""
        return {
            "schedulers": [scheduler.state_dict() for scheduler in self._states],
            "groups": [[settings_of(group) for group in each.param_groups] for each in self._optimizers()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for scheduler, saved in zip(self._states, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        for optimizer, groups in zip(self._optimizers(), state["groups"], strict=True):
            for group, settings in zip(optimizer.param_groups, groups, strict=True):
                group.update(settings)

    def _optimizers(self) -> Iterator[Optimizer]:
        yield self._optimizer
        if self._own:
            yield from (self._shared, *self._own)

    def _multiply(self) -> None:
        """Set the product of all factors, if schedulers have optimizers of their own."""
        if not self._own:
            return
        for number, group in enumerate(self._optimizer.param_groups):
            group["lr"] = self._shared.param_groups[number]["lr"]
            for own in (each.param_groups[number] for each in self._own):
                group["lr"] *= own["lr"] / self._base[number]
                group.update({key: own[key] for key in CYCLED if key in own})


def settings_of(group: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter group without its parameters: lr, momentum, betas and other settings."""
    return {key: value for key, value in group.items() if key != "params"}


def _step(member: Member, *metric: Any) -> None:
    try:
        member.scheduler.step(*metric)
    except Exception as error:  # user code may raise anything
        raise ComponentError(
            f"{member.section}: {member.config.name} cannot step: {describe_error(error)}"
        ) from error


def _check_length(section: str, config: SchedulerConfig, total: object, length: int) -> None:
    """OneCycleLR raises at the step after its last one: refuse one that is too short at the start."""
    if isinstance(total, int) and total < length:
        raise ComponentError(
            f"{section}.total_steps: {config.name} ends after {total:,} {config.interval}s, but this part "
            f"lasts {length:,}; remove total_steps, or set `until` and add another part"
        )
