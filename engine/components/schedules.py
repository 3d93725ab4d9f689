"""The lr schedule of a run: parts, each a class of torch.optim.lr_scheduler or several, one after another.

The sequence is implemented here, because torch's SequentialLR does not support ReduceLROnPlateau and cannot
mix schedulers that step per step and per epoch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.schedule_part import Member, SchedulePart, settings_of
from torchconsole.engine.components.schedulers import find_scheduler, left_out_lengths, with_intervals
from torchconsole.engine.config.schedule_units import Interval
from torchconsole.engine.config.schema import ScheduleConfig, SchedulerConfig
from torchconsole.engine.protocol.info import Metrics

DRY_RUN_STEPS = 3


class ScheduleSequence:
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
        self.parts = with_intervals(parts, user_code)
        self._totals = {"step": self.total_steps, "epoch": math.ceil(self.total_steps / steps_per_epoch)}
        self._counts = {"step": 0, "epoch": 0}
        self._base = [settings_of(group) for group in optimizer.param_groups]
        self._index = 0
        self._part = self._build() if self.parts else None
        self._took_over_now = False
        """Whether the current part has been in effect for no step yet."""

    @property
    def lrs(self) -> list[float]:
        """The lr of each parameter group for the next step."""
        return [float(group["lr"]) for group in self._optimizer.param_groups]

    @property
    def metric(self) -> str | None:
        """The metric that the current part monitors; None if it does not depend on a metric."""
        return self._part.metric if self._part else None

    @property
    def members(self) -> list[Member]:
        """The schedulers of the current part."""
        return self._part.members if self._part else []

    @property
    def monitoring(self) -> list[Member]:
        """The schedulers of the current part that depend on a metric."""
        return [member for member in self.members if member.by_metric]

    def describe_length_change(self) -> str:
        """Describe how the current and the later parts change if the length of the run changes."""
        if not self.parts:
            return "there is no schedule"
        names = [part.name for part in self.parts]
        later = [names[index] for index in range(self._index + 1, len(names)) if self._is_fitted(index)]
        current = "is stretched to it" if self._is_stretched else "stays unchanged"
        return "; ".join(
            [
                f"{names[self._index]} {current}",
                *(f"{name} will be fitted to it later" for name in later),
            ]
        )

    def step(self) -> None:
        """Advance by one optimizer step."""
        self._took_over_now = False
        self._advance("step")

    def epoch(self) -> None:
        """Advance by one epoch, after its last step."""
        self._advance("epoch")

    def evaluated(self, metrics: Metrics) -> None:
        """Step by the metrics of an evaluation. Raises ComponentError if the monitor is missing."""
        if self._part is not None:
            self._part.evaluated(metrics)

    def dry_run(self) -> None:
        """Build and step every part to check its arguments; the sequence cannot be used afterwards.

        Raises ComponentError for an unknown scheduler or wrong arguments.
        """
        for index in range(len(self.parts)):
            if index:
                self._counts = self._end_of(self.parts[index - 1])
            self._index = index
            self._build().try_steps(DRY_RUN_STEPS)

    def state_dict(self) -> dict[str, Any]:
        """The state as plain numbers, for a checkpoint."""
        return {
            "index": self._index,
            "counts": dict(self._counts),
            "totals": dict(self._totals),
            "part": self._part.state_dict() if self._part else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`.

        If the length of the run has changed since and the current part is fitted to it, the lr is the one
        that the schedule for the new length has at this step.
        """
        if not self.parts:
            return
        self._index, self._counts = state["index"], dict(state["counts"])
        self._part = self._build()
        if state["totals"] != self._totals and self._is_stretched:
            self._replay(state["counts"])
        else:
            self._part.load_state_dict(state["part"])

    def _replay(self, counts: dict[str, int]) -> None:
        """Step through the schedule from its start to `counts`.

        Metrics are not replayed: each part starts afresh, and a part that depends on a metric is never
        stretched.
        """
        self._index, self._counts = 0, {"step": 0, "epoch": 0}
        self._part = self._build()
        for step in range(1, counts["step"] + 1):
            self.step()
            if step % self.steps_per_epoch == 0 and self._counts["epoch"] < counts["epoch"]:
                self.epoch()
        while self._counts["epoch"] < counts["epoch"]:
            self.epoch()

    def _advance(self, interval: Interval) -> None:
        self._counts[interval] += 1
        if self._part is None:
            return
        part = self.parts[self._index]
        is_over = part.until is not None and self._counts[part.interval or "epoch"] >= part.until
        if is_over and self._index + 1 < len(self.parts):
            self._index += 1
            self._part = self._build()
            self._took_over_now = True
        elif is_over:
            return
        elif self._took_over_now:
            # It took over at the last step of the epoch that ends now: none of its own epochs has passed.
            self._part = self._build()
        else:
            self._part.advance(interval)

    def _build(self) -> SchedulePart:
        """Build the current part on the settings of the preset."""
        part = self.parts[self._index]
        for group, base in zip(self._optimizer.param_groups, self._base, strict=True):
            group.pop("initial_lr", None)
            group.update(base)
        section = f"schedule.{self._index}"
        return SchedulePart(
            section, part, self._optimizer, lambda config: self._length(part, config), self._user_code
        )

    @property
    def _is_stretched(self) -> bool:
        """Whether the current part changes with the length of the run."""
        return self._is_fitted(self._index) and self.metric is None

    def _is_fitted(self, index: int) -> bool:
        """Whether a part lasts until the end of the run and gets its length from the run."""
        part = self.parts[index]
        if part.until is not None:
            return False
        sections = {f"schedule.{index}{key}": member for key, member in part.members.items()}
        return any(
            left_out_lengths(find_scheduler(section, member.name, self._user_code), member)
            for section, member in sections.items()
        )

    def _end_of(self, part: ScheduleConfig) -> dict[str, int]:
        """The counts at which the next part takes over."""
        steps = (part.until or 0) * (1 if part.interval == "step" else self.steps_per_epoch)
        return {"step": steps, "epoch": steps // self.steps_per_epoch}

    def _length(self, part: ScheduleConfig, config: SchedulerConfig) -> int:
        """The remaining length of a part, in the interval of one of its schedulers."""
        interval = config.interval or "epoch"
        if part.until is None:
            end = self._totals[interval]
        elif part.interval == interval:
            end = part.until
        else:
            spe = self.steps_per_epoch
            end = part.until * spe if interval == "step" else math.ceil(part.until / spe)
        return max(1, end - self._counts[interval])
