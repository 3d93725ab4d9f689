"""Means of the training loss over the open log interval and the open epoch; read when a line is logged."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchconsole.engine.components.ranks import ALONE, Ranks

CAPACITY = 1024
"""Most losses that are kept on the device; the host reads them all at once."""


class LossMeter:
    """Sample-weighted means, and the steps whose loss was not finite.

    With `leave_out` such a loss does not count in the means, and `mark` records which steps were left out.
    The losses of several `ranks` become one when they are read.
    """

    def __init__(self, leave_out: bool = False, ranks: Ranks = ALONE) -> None:
        self._leave_out = leave_out
        self._ranks = ranks
        self._waiting: list[tuple[Tensor, int, int]] = []
        self._marks: list[tuple[Tensor, int]] = []
        self._interval: list[float] = [0.0, 0]
        self._epoch: list[float] = [0.0, 0]
        self._nonfinite: list[int] = []
        self.samples = 0
        """Samples since the last read, of this process."""

    def add(self, loss: Tensor, count: int, step: int) -> None:
        """Add the mean loss (a scalar without its graph) over `count` samples of the current step."""
        self._waiting.append((loss, count, step))
        self.samples += count
        if len(self._waiting) == CAPACITY:
            self.collect()

    def mark(self, left_out: Tensor, step: int) -> None:
        """Record whether `step` was left out: a bool scalar on the device."""
        self._marks.append((left_out, step))

    def read(self) -> float:
        """Return the mean since the last read. The host waits for the device here, once a logged line."""
        self.collect()
        mean = _mean(self._interval)
        self._interval = [0.0, 0]
        self.samples = 0
        return mean

    @property
    def is_empty(self) -> bool:
        """Whether the open epoch has no losses."""
        return not (self._waiting or self._epoch[1])

    def end_epoch(self) -> float:
        """End the epoch and return its mean. The host waits for the device if losses are still unread."""
        self.collect()
        mean = _mean(self._epoch)
        self._epoch = [0.0, 0]
        return mean

    def take_nonfinite(self) -> list[int]:
        """Return, once, the steps read so far whose loss was not finite or that were left out."""
        steps, self._nonfinite = self._nonfinite, []
        return steps

    def collect(self) -> None:
        """Read the losses, waiting for the device. How often does not change the sums, bit for bit.

        All processes that train together must do so at the same step.
        """
        if self._waiting:
            self._collect_losses()
        self._collect_marks()  # there may be one when no loss is waiting: it follows its loss

    def _collect_losses(self) -> None:
        losses, counts, steps = zip(*self._waiting, strict=True)
        self._waiting = []
        own = torch.stack(losses).tolist() if len(losses) > 1 else [losses[0].item()]
        values, samples = self._ranks.mean_losses(own, counts)
        for loss, count, step in zip(values, samples, steps, strict=True):
            if not math.isfinite(loss) and self._leave_out:
                continue
            if not math.isfinite(loss):
                self._nonfinite.append(step)
            for total in (self._interval, self._epoch):
                total[0] += loss * count
                total[1] += count

    def state_dict(self) -> dict[str, Any]:
        """Return sums and counts for a checkpoint. The host waits for the device here, once a save."""
        self.collect()
        return {
            "interval": list(self._interval),
            "epoch": list(self._epoch),
            "nonfinite": list(self._nonfinite),
            "samples": self.samples,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._waiting, self._marks = [], []
        self._interval, self._epoch = list(state["interval"]), list(state["epoch"])
        self._nonfinite = list(state["nonfinite"])
        self.samples = state["samples"]

    def _collect_marks(self) -> None:
        if self._marks:
            flags, steps = zip(*self._marks, strict=True)
            self._marks = []
            self._nonfinite += [
                step for flag, step in zip(torch.stack(flags).tolist(), steps, strict=True) if flag
            ]


def _mean(total: list[float]) -> float:
    return total[0] / total[1] if total[1] else math.nan
