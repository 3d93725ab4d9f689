"""A data set and a model that fail, hang or slow down when an environment variable asks for it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from types import FrameType

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, get_worker_info

FAULT = "FAULTS_LIFE"
"""Variable that names the fault: in the data set `hang` or `die SIGKILL` (any signal); in the model `raise`,
`lose device` or `slow` (in evaluations)."""

COUNT = 72
FAULT_AT = 110
"""The fault happens when a process reads this sample, counting from 1: a few steps after the dry run."""


class Blobs(Dataset[tuple[Tensor, int]]):
    """Noise, (width,), in which eight larger numbers show the class."""

    def __init__(self, width: int = 16) -> None:
        self.inputs = torch.rand(COUNT, width, generator=torch.Generator().manual_seed(0))
        self.targets = [index % 2 for index in range(COUNT)]
        self.read = 0

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.read += 1
        if self.read == FAULT_AT and (get_worker_info() is None or get_worker_info().id == 0):
            _trigger_fault()
        sample, target = self.inputs[index].clone(), self.targets[index]
        sample[8 * target : 8 * target + 8] += 1
        return sample, target


def _trigger_fault() -> None:
    match os.environ.get(FAULT, "").split():
        case ["hang"]:
            print("hanging", flush=True)
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
        if not self.training and not _is_trial() and os.environ.get(FAULT) == "slow":
            print("evaluating", flush=True)
            time.sleep(0.3)
        if self.training and not _is_trial():
            self.trained += 1
            if self.trained == 5 and os.environ.get(FAULT) == "raise":
                raise ArithmeticError("the sum is wrong")
            if self.trained == 12 and os.environ.get(FAULT) == "lose device":
                raise torch.AcceleratorError("CUDA error: device-side assert triggered\nCompile with ...")
        result: Tensor = self.linear(self.dropout(x))
        return result


def _is_trial() -> bool:
    """Whether the start of a run is only trying the model: such passes do not count."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "check_parts":
        frame = frame.f_back
    return frame is not None
