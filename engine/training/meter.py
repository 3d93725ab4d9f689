"""Running means of the training loss, summed on the device and read only when a line is logged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LossMeter:
    """The sample-weighted mean loss of the open log interval and of the open epoch."""

    def __init__(self, device: torch.device) -> None:
        # float64 keeps the sum of a long interval exact; MPS has none.
        self._sum = torch.zeros(
            (), device=device, dtype=torch.float32 if device.type == "mps" else torch.float64
        )
        self._count = 0
        self._epoch_sum = 0.0
        self._epoch_count = 0

    @property
    def open_samples(self) -> int:
        """Samples since the last read."""
        return self._count

    def add(self, loss: Tensor, count: int) -> None:
        """Take in a batch's mean loss (a scalar on the device, without its graph) over `count` samples."""
        self._sum.add_(loss, alpha=count)
        self._count += count

    def read(self) -> float:
        """The mean since the last read. The host waits for the device here: once a logged line."""
        total = self._sum.item()
        mean = total / self._count if self._count else float("nan")
        self._epoch_sum += total
        self._epoch_count += self._count
        self._sum.zero_()
        self._count = 0
        return mean

    def end_epoch(self) -> float:
        """The mean over the epoch, which ends here. The host waits for the device if a line is open."""
        open_sum = self._sum.item() if self._count else 0.0
        count = self._epoch_count + self._count
        mean = (self._epoch_sum + open_sum) / count if count else float("nan")
        # What is open belongs to the next line but no longer to an epoch: count it out in advance.
        self._epoch_sum, self._epoch_count = -open_sum, -self._count
        return mean

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts, fit for a checkpoint; the open sum stays a tensor."""
        return {
            "sum": self._sum.clone(),
            "count": self._count,
            "epoch_sum": self._epoch_sum,
            "epoch_count": self._epoch_count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._sum.copy_(state["sum"])
        self._count = state["count"]
        self._epoch_sum = state["epoch_sum"]
        self._epoch_count = state["epoch_count"]
