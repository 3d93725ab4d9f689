"""The scheduler classes that a preset can name, what is filled in for them, and the unit that they count."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from torchconsole.engine.components.instantiate import UserCode, classes_of, find
from torchconsole.engine.config.schedule_units import CHAINED, LENGTHS, Interval, default_interval
from torchconsole.engine.config.schema import ScheduleConfig, SchedulerConfig
from torchconsole.engine.errors import ComponentError

UNSUPPORTED = {
    "LambdaLR": "it needs a function; use your own scheduler (file.py:Name), or list the lrs with Table",
    "MultiplicativeLR": "it needs a function; use your own scheduler (file.py:Name)",
    "SequentialLR": "several [[schedule]] sections already form a sequence",
}
"""Classes of torch.optim.lr_scheduler that a preset cannot use, and why."""

NOT_NESTED = "it cannot be inside another one; list all schedulers in one"
"""Why a ChainedScheduler cannot be one of the schedulers of another."""

Factory = Callable[..., lr_scheduler.LRScheduler]


class Table(lr_scheduler.LRScheduler):
    """Sets the lr from a table such as `{"1": 0.1, "30": 0.01}`: epoch or step (from 1) -> lr from then on.

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


def find_scheduler(section: str, name: str, user_code: UserCode) -> Factory:
    """Return the class or function called `name`. Raises ComponentError and TrustError."""
    if name in UNSUPPORTED:
        raise ComponentError(f"{section}.name: {name} cannot be used: {UNSUPPORTED[name]}")
    if name == CHAINED:
        raise ComponentError(f"{section}.name: {CHAINED} cannot be used: {NOT_NESTED}")
    return find(section, name, known_schedulers(), user_code, lr_scheduler.LRScheduler)


def left_out_lengths(factory: Factory, config: SchedulerConfig) -> set[str]:
    """Return the arguments for a length that the preset leaves out, so that they are filled in."""
    taken = inspect.signature(factory).parameters
    return {name for name in LENGTHS if name in taken and name not in config.arguments}


def with_intervals(parts: Sequence[ScheduleConfig], user_code: UserCode) -> list[ScheduleConfig]:
    """Return the parts of a schedule, each with the unit that it counts; see `schedule_units`.

    A ChainedScheduler hands its interval on to its schedulers. Without one each has its own, and `until`
    counts steps if all of them do. Raises ComponentError and TrustError for a name that cannot be used.
    """

    def unit(section: str, config: SchedulerConfig, part: ScheduleConfig) -> dict[str, object]:
        if (stated := config.interval or part.interval) is not None:
            return {"interval": stated}
        factory = find_scheduler(section, config.name, user_code)
        fitted = bool(left_out_lengths(factory, config))
        return {"interval": default_interval(config.name, is_fitted=fitted)}

    completed = _with_members(parts, unit)
    return [
        part.model_copy(update={"interval": part.interval or _common_interval(part)}) for part in completed
    ]


def with_modes(
    parts: Sequence[ScheduleConfig], user_code: UserCode, higher_is_better: Callable[[str], bool]
) -> list[ScheduleConfig]:
    """Return the parts with the `mode` of each ReduceLROnPlateau, by the metric that it monitors.

    A mode that the preset states stays. Raises ComponentError and TrustError for a name that cannot be used.
    """

    def mode(section: str, config: SchedulerConfig, part: ScheduleConfig) -> dict[str, object]:
        factory = find_scheduler(section, config.name, user_code)
        by_metric = inspect.isclass(factory) and issubclass(factory, lr_scheduler.ReduceLROnPlateau)
        if not by_metric or "mode" in config.arguments or "mode" not in inspect.signature(factory).parameters:
            return {}
        return {"mode": "max" if higher_is_better(config.monitor) else "min"}

    return _with_members(parts, mode)


def _common_interval(part: ScheduleConfig) -> Interval:
    return "step" if {member.interval for member in part.members.values()} == {"step"} else "epoch"


def _with_members(
    parts: Sequence[ScheduleConfig],
    change: Callable[[str, SchedulerConfig, ScheduleConfig], dict[str, object]],
) -> list[ScheduleConfig]:
    """Return the parts with what `change` returns for each scheduler, its key in the preset and its part."""
    completed = []
    for number, part in enumerate(parts):
        changes = {
            key: change(f"schedule.{number}{key}", member, part) for key, member in part.members.items()
        }
        if part.name == CHAINED:
            members = [part.members[key].model_copy(update=update) for key, update in changes.items()]
            completed.append(part.model_copy(update={"schedulers": members}))
        else:
            completed.append(part.model_copy(update=changes[""]))
    return completed
