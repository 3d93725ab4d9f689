"""The learning rate of a program of the user's own: what it sets times a scale, or a held value.

The changed lr is in the optimizer only while its `step` runs, so that no scheduler, and no code that sets the
lr itself, ever sees it.
"""

from __future__ import annotations

from numbers import Real
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.optim import Optimizer

from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.lr_state import LearningRateCommand, LrState

NO_OPTIMIZER = (
    "the program updates its weights without an optimizer of torch.optim, so there is no lr to change"
)

NO_LR = 'the optimizer has no "lr" in its parameter groups, so there is none to change'


class ProgramLr:
    """The lr of the groups of all optimizers; a value addresses the first group of the first optimizer.

    Optimizers that the program has dropped are forgotten. Groups without an lr, as those of an optimizer that
    finds its own, are left alone.
    """

    def __init__(self) -> None:
        self.scale = 1.0
        self.no_optimizer = NO_OPTIMIZER
        """Why the lr cannot be changed while there is no optimizer."""
        self._numbers: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()
        self._added = 0
        self._base: dict[tuple[int, int], float] = {}
        self._held: dict[tuple[int, int], float] | None = None
        self._put_aside: dict[int, dict[int, Any]] = {}
        self._latest: LrState | None = None

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers that the program still has, in the order of their first steps."""
        return list(self._numbers)

    def add(self, optimizer: Optimizer) -> None:
        """Note an optimizer when it steps for the first time."""
        self._numbers[optimizer] = self._added
        self._added += 1

    @property
    def current(self) -> float:
        """The lr in force of the first parameter group. Raises CommandRejectedError without an optimizer."""
        return self._state().lr

    @property
    def held(self) -> float | None:
        """The held lr of the first parameter group; None while the program's own is in force."""
        return None if self._held is None else next(iter(self._held.values()))

    def apply(self, command: LearningRateCommand) -> None:
        """Change the lr from the next step on. Raises CommandRejectedError and then changes nothing."""
        after = self._state().after(command)
        self.scale = after.scale
        self._held = None if after.held is None else dict(zip(self._groups(), after.held, strict=True))

    def groups(self) -> list[float]:
        """Return the lr in force of each group."""
        return list(self._state().lrs)

    def state_dict(self) -> dict[str, Any]:
        """Return what commands have changed, for a checkpoint."""
        held = None if self._held is None else [[*key, lr] for key, lr in self._held.items()]
        return {"scale": self.scale, "held": held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.scale, held = state["scale"], state["held"]
        self._held = None if held is None else {(number, index): lr for number, index, lr in held}

    def put_in_force(self, optimizer: Optimizer) -> None:
        """Replace the optimizer's lrs by those in force, until `restore`."""
        self.restore(optimizer)  # its last step has failed, if there is anything to restore
        if self.scale == 1.0 and self._held is None:
            return
        number = self._numbers[optimizer]
        groups = {index: group for index, group in enumerate(optimizer.param_groups) if _has_lr(group)}
        self._put_aside[number] = {index: group["lr"] for index, group in groups.items()}
        for index, group in groups.items():
            group["lr"] = _like(group["lr"], self._in_force((number, index), group["lr"]))

    def restore(self, optimizer: Optimizer) -> None:
        """Give the optimizer back the lrs that the program has set."""
        if self._put_aside:
            lrs = self._put_aside.pop(self._numbers[optimizer], {})
            for index, group in enumerate(optimizer.param_groups):
                if index in lrs:
                    group["lr"] = lrs[index]

    def _in_force(self, key: tuple[int, int], lr: Any) -> Any:
        if self._held is None:
            return self.scale * lr
        if key not in self._held:
            self._held |= dict(zip(self._groups(), self._state().lrs, strict=True))
        return self._held[key]

    def _groups(self) -> dict[tuple[int, int], dict[str, Any]]:
        """Return the parameter groups with an lr by the numbers of their optimizer and their place in it."""
        return {
            (number, index): group
            for optimizer, number in list(self._numbers.items())
            for index, group in enumerate(optimizer.param_groups)
            if _has_lr(group)
        }

    def _state(self) -> LrState:
        """Return what determines the lrs. The host waits for the device here if an lr is a tensor on it."""
        groups = self._groups()
        if not groups:
            if self._latest is None:
                raise CommandRejectedError(NO_LR if self._numbers else self.no_optimizer)
            return self._latest  # the program is at its end, or between two trainings
        scheduled = {key: float(group["lr"]) for key, group in groups.items()}
        self._base = {
            key: self._base.get(key) or float(group.get("initial_lr") or 0.0) or scheduled[key]
            for key, group in groups.items()
        }
        held = None
        if self._held is not None:
            # A group that was added since keeps its ratio to the first one.
            first, ratio = next(iter(self._held.values())), next(iter(scheduled.values())) or 1.0
            held = tuple(self._held.get(key, first * lr / ratio) for key, lr in scheduled.items())
        # Without any lr so far, all groups get the same one.
        base = tuple(lr or 1.0 for lr in self._base.values())
        self._latest = LrState(self.scale, held, tuple(scheduled.values()), base)
        return self._latest


def _has_lr(group: dict[str, Any]) -> bool:
    lr = group.get("lr")
    return lr.numel() == 1 if isinstance(lr, torch.Tensor) else isinstance(lr, Real)


def _like(lr: Any, value: Any) -> Any:
    """Return `value` as what the optimizer has: a number, or a tensor on the same device."""
    if not isinstance(lr, torch.Tensor):
        return float(value)
    return value if isinstance(value, torch.Tensor) else torch.full_like(lr, value)
