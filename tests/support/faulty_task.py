"""Data and a model that take their time where an environment variable says so; they print what they do."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, get_worker_info

FAULT = "FAULTS_LIFE"
"""What goes wrong: `hang` or `die SIGKILL` when the data is read, `raise` in training, `slow` to evaluate."""

COUNT = 72
REACHED = 60
"""So many samples a process reads before the fault: the rehearsal, and some steps after it."""


class Blobs(Dataset[tuple[Tensor, int]]):
    """Noise (width,) with eight bright numbers that tell its class."""

    def __init__(self, width: int = 16) -> None:
        self.inputs = torch.rand(COUNT, width, generator=torch.Generator().manual_seed(0))
        self.targets = [index % 2 for index in range(COUNT)]
        self.read = 0

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.read += 1
        if self.read == REACHED and (get_worker_info() is None or get_worker_info().id == 0):
            _go_wrong()
        sample, target = self.inputs[index].clone(), self.targets[index]
        sample[8 * target : 8 * target + 8] += 1
        return sample, target


def _go_wrong() -> None:
    match os.environ.get(FAULT, "").split():
        case ["hang"]:
            print("hangs", flush=True)
            while True:
                time.sleep(60)
        case ["die", "SIGSEGV"]:
            ctypes.string_at(0)
        case ["die", name]:
            os.kill(os.getpid(), signal.Signals[name])


class Net(nn.Module):
    """A linear layer with dropout; (B, width) -> (B, 2)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)
        self.dropout = nn.Dropout(0.2)
        self.trained = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and not x.is_meta and os.environ.get(FAULT) == "slow":
            print("evaluates", flush=True)
            time.sleep(0.3)
        if self.training and not x.is_meta:
            self.trained += 1
            if self.trained == 5 and os.environ.get(FAULT) == "raise":
                raise ArithmeticError("the numbers are out")
            if self.trained == 12 and os.environ.get(FAULT) == "lose device":
                raise torch.AcceleratorError("CUDA error: device-side assert triggered\nCompile with ...")
        result: Tensor = self.linear(self.dropout(x))
        return result
