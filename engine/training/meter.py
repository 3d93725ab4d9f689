"""Means of the training loss over the open log interval and the open epoch; read when a line is logged."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

CAPACITY = 1024
"""Losses that wait on the device at most; the host reads them all at once."""


class LossMeter:
    """Sample-weighted means, and the steps whose loss was not finite.

    With `leave_out` such a loss is counted out of the means, and `mark` says which steps were left out.
    """

    def __init__(self, leave_out: bool = False) -> None:
        self._leave_out = leave_out
        self._waiting: list[tuple[Tensor, int, int]] = []
        self._marks: list[tuple[Tensor, int]] = []
        self._interval: list[float] = [0.0, 0]
        self._epoch: list[float] = [0.0, 0]
        self._nonfinite: list[int] = []
        self.samples = 0
        """Samples since the last read."""

    def add(self, loss: Tensor, count: int, step: int) -> None:
        """Take in the mean loss (a scalar without its graph) over `count` samples of the step under way."""
        self._waiting.append((loss, count, step))
        self.samples += count
        if len(self._waiting) == CAPACITY:
            self.collect()

    def mark(self, left_out: Tensor, step: int) -> None:
        """Take in whether `step` was left out: a bool scalar on the device."""
        self._marks.append((left_out, step))

    def read(self) -> float:
        """The mean since the last read. The host waits for the device here: once a logged line."""
        self.collect()
        mean = _mean(self._interval)
        self._interval = [0.0, 0]
        self.samples = 0
        return mean

    def end_epoch(self) -> float:
        """The mean over the epoch, which ends here. The host waits for the device if a line is open."""
        self.collect()
        mean = _mean(self._epoch)
        self._epoch = [0.0, 0]
        return mean

    def take_nonfinite(self) -> list[int]:
        """The steps, among those read, whose loss was not finite or that were left out; each is told once."""
        steps, self._nonfinite = self._nonfinite, []
        return steps

    def collect(self) -> None:
        """Read what waits, and wait for the device. However often: the sums are the same to the last bit."""
        if not self._waiting:
            return
        losses, counts, steps = zip(*self._waiting, strict=True)
        self._waiting = []
        values = torch.stack(losses).tolist() if len(losses) > 1 else [losses[0].item()]
        for loss, count, step in zip(values, counts, steps, strict=True):
            if not math.isfinite(loss) and self._leave_out:
                continue
            if not math.isfinite(loss):
                self._nonfinite.append(step)
            for total in (self._interval, self._epoch):
                total[0] += loss * count
                total[1] += count
        self._collect_marks()

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts, fit for a checkpoint. The host waits for the device here: once a save."""
        self.collect()
        return {
            "interval": list(self._interval),
            "epoch": list(self._epoch),
            "nonfinite": list(self._nonfinite),
            "samples": self.samples,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._waiting = []
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
