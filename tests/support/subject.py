"""The data and model of the fault tests: random images; a net with batch norm and dropout."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from types import FrameType

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

KILL_IN = "FAULTS_KILL_IN"
"""Variable that says when the process is killed: `train 5` or `eval 5`, counting its batches from 1."""

_seen: Counter[str] = Counter()


class Blobs(Dataset[tuple[Tensor, int]]):
    """Noise images, (3, 8, 8) uint8; the index of the brighter channel is the class."""

    def __init__(self, count: int = 72) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 128, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
        self.targets = [index % 3 for index in range(count)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, target = self.images[index].clone(), self.targets[index]
        image[target] += 64
        return image, target


def in_memory() -> TensorDataset:
    """Return the same images as tensors, which are held in memory and transformed a batch at a time."""
    inputs, targets = zip(*map(Blobs().__getitem__, range(72)), strict=True)
    return TensorDataset(torch.stack(inputs), torch.tensor(targets))


class Net(nn.Module):
    """A convolution of `width` channels, batch norm, dropout and a linear layer; (B, 3, 8, 8) -> (B, 3)."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(0.3)
        self.linear = nn.Linear(width * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta:
            _kill_if_due("train" if self.training else "eval")
        hidden: Tensor = self.dropout(self.norm(self.conv(x)).relu().flatten(1))
        result: Tensor = self.linear(hidden)
        return result


class Hungry(Net):
    """A net that allocates another `mebibytes` MiB for each sample, but not in the evaluation of a dry run.

    So it can run out of memory later, as when another process takes memory.
    """

    def __init__(self, mebibytes: int) -> None:
        super().__init__()
        self._floats = mebibytes * 2**18

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta and (self.training or not _is_trial()):
            x.new_zeros(len(x), self._floats)
        return super().forward(x)


def _kill_if_due(part: str) -> None:
    if _is_trial():
        return
    _seen[part] += 1
    if os.environ.get(KILL_IN) == f"{part} {_seen[part]}":
        os.kill(os.getpid(), signal.SIGKILL)


def _is_trial() -> bool:
    """Whether the start of a run is only trying the model: such passes do not count."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "check_parts":
        frame = frame.f_back
    return frame is not None
