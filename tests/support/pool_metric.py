"""A metric that starts processes. If `FAULTS_POOL` is set, they die, and the metric waits for ever."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from types import FrameType

import torch
from torch import Tensor
from torchmetrics import Metric

POOL_FAULT = "FAULTS_POOL"


def work(number: int) -> int:
    """Return the number, or die."""
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


class PoolMetric(Metric):
    """Computes 1 in a process of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()))

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        hangs = POOL_FAULT in os.environ and not _is_trial()
        if hangs:
            print("hanging", flush=True)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            [self.total] = map(torch.tensor, pool.map(work, [-1 if hangs else 1]))

    def compute(self) -> Tensor:
        return self.total


def _is_trial() -> bool:
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "check_parts":
        frame = frame.f_back
    return frame is not None
