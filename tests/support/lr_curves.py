"""Small cases for every torch scheduler, and the curve that torch computes for each, as a reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import SGD, lr_scheduler

from tests.support.pairwise import pairwise
from torchconsole.engine.components.schedulers import Table
from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.training.learning_rate import LearningRate

EPOCHS, STEPS_PER_EPOCH = 6, 4
TOTAL = EPOCHS * STEPS_PER_EPOCH

METRICS = (1.0, 1.0, 1.0, 0.5, 0.5, 0.5)
"""The metric at the end of each epoch, for ReduceLROnPlateau."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "ChainedScheduler": {"schedulers": [
        {"name": "LinearLR", "start_factor": 0.1, "total_iters": 4}, {"name": "ExponentialLR", "gamma": 0.9},
        {"name": "CosineAnnealingLR", "T_max": 24, "eta_min": 0.001},
    ]},
    "ConstantLR": {"factor": 0.5, "total_iters": 4},
    "CosineAnnealingLR": {"eta_min": 0.001},
    "CosineAnnealingWarmRestarts": {"T_0": 2, "T_mult": 2, "eta_min": 0.001},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {"start_factor": 0.1},
    "MultiStepLR": {"milestones": [2, 4], "gamma": 0.3},
    "OneCycleLR": {"max_lr": 0.5},
    "PolynomialLR": {"power": 0.5},
    "ReduceLROnPlateau": {"factor": 0.1, "patience": 0, "threshold": 0.1},
    "StepLR": {"step_size": 2, "gamma": 0.5},
    "Table": {"table": {"2": 0.3, "5": 0.02}},
}  # fmt: skip
LENGTHS = {
    "CosineAnnealingLR": "T_max", "LinearLR": "total_iters", "OneCycleLR": "total_steps",
    "PolynomialLR": "total_iters",
}  # fmt: skip
"""The length arguments: torch requires them; torchconsole fills them in if a preset leaves them out."""

Value = TypeVar("Value")
Interval = Literal["step", "epoch"]
Rows = NDArray[np.float64]
"""The lr of each group at each step, (TOTAL, groups)."""


class Part(NamedTuple):
    """A part of a schedule."""

    name: str
    interval: Interval = "step"
    until: int | None = None

    @property
    def config(self) -> ScheduleConfig:
        """The part as a preset declares it."""
        facts = {"name": self.name, "interval": self.interval, "until": self.until}
        return ScheduleConfig.model_validate({**facts, **ARGUMENTS[self.name]})

    def of_torch(self, optimizer: SGD, begin: int) -> Any:
        """Build torch's scheduler for this part, which starts after `begin` steps or epochs."""
        end = self.until or (TOTAL if self.interval == "step" else EPOCHS)
        length = {LENGTHS[self.name]: end - begin} if self.name in LENGTHS else {}
        kinds = {**vars(lr_scheduler), "Table": Table}
        if self.name == "ChainedScheduler":
            members = [dict(member) for member in ARGUMENTS[self.name]["schedulers"]]
            return lr_scheduler.ChainedScheduler(
                [kinds[member.pop("name")](optimizer, **member) for member in members]
            )
        return kinds[self.name](optimizer, **ARGUMENTS[self.name], **length)


WARM_UP = Part("LinearLR", "step", 6)


class Case(NamedTuple):
    """A schedule of one or two parts, on an optimizer with some parameter groups."""

    parts: tuple[Part, ...]
    groups: int = 2

    def __str__(self) -> str:
        return "-".join(f"{part.name}-{part.interval}" for part in self.parts) + f"-{self.groups}-groups"


def cases_for(values: Sequence[Value], names: Iterable[str] = ARGUMENTS) -> list[tuple[Value, Case]]:
    """Choose (value, case) pairs so that any two choices occur together.

    The choices are the value, the scheduler, its interval, whether a warm-up precedes it, and the number of
    groups: every scheduler occurs with every value, every value with every number of groups, and so on.
    """
    chosen = pairwise(tuple(names), values, (1, 2, 3), ("step", "epoch"), (False, True))
    return [
        (value, Case(((WARM_UP,) if warm_up else ()) + (Part(name, interval),), groups))
        for name, value, groups, interval, warm_up in chosen
    ]


def optimizer(groups: int = 2) -> SGD:
    """Make an optimizer whose groups have the lrs 0.1, 0.01, ..."""
    params = [{"params": [torch.zeros(1, requires_grad=True)], "lr": 0.1 / 10**i} for i in range(groups)]
    return SGD(params, lr=0.1, momentum=0.9)


def learning_rate(parts: tuple[Part, ...], real: SGD | None = None) -> LearningRate:
    """Make torchconsole's learning rate for these parts."""
    return LearningRate(real or optimizer(), [part.config for part in parts], EPOCHS, STEPS_PER_EPOCH)


def torch_curve(parts: tuple[Part, ...], groups: int = 2) -> Rows:
    """Compute the lrs with torch's schedulers; each later part starts from the initial lrs."""
    plain, rows = optimizer(groups), []
    scheduler, waiting = parts[0].of_torch(plain, 0), list(parts[1:])
    part = parts[0]
    for step in range(1, TOTAL + 1):
        rows.append([group["lr"] for group in plain.param_groups])
        plain.step()
        by_metric = part.name == "ReduceLROnPlateau"
        if step == part.until:
            part, plain = waiting.pop(0), optimizer(groups)
            scheduler = part.of_torch(plain, step if part.interval == "step" else step // STEPS_PER_EPOCH)
        elif part.interval == "step" and not by_metric:
            scheduler.step()
        if step % STEPS_PER_EPOCH == 0:
            if by_metric:
                scheduler.step(METRICS[step // STEPS_PER_EPOCH - 1])
            elif part.interval == "epoch":
                scheduler.step()
    return np.array(rows)


def drive(
    rate: LearningRate,
    real: SGD,
    changes: Mapping[int, Callable[[LearningRate], object]],
    first: int = 1,
    last: int = TOTAL,
) -> Rows:
    """Return the lrs in force at the steps from `first` to `last`, driven as in the training loop.

    A change takes effect at its step: it is made after the previous step, and after the end of the epoch if
    that step completes one.
    """
    rows = []
    for step in range(first, last + 1):
        rows.append([group["lr"] for group in real.param_groups])
        rate.step()
        if step % STEPS_PER_EPOCH == 0:
            rate.epoch()
            rate.evaluated({"val/loss": METRICS[step // STEPS_PER_EPOCH - 1]})
        if change := changes.get(step + 1):
            change(rate)
    return np.array(rows)
