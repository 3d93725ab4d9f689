"""What the fault tests train: images with random augmentation, a net with batch norm and dropout."""

from __future__ import annotations

import os
import signal
from collections import Counter

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

KILL_IN = "FAULTS_KILL_IN"
"""`train 5` or `eval 5`: the batch, counted over this process from 1, in which it is killed."""

_seen: Counter[str] = Counter()


class Blobs(Dataset[tuple[Tensor, int]]):
    """Noise (3, 8, 8) uint8 with a bright channel that is its class."""

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
    """The same images as tensors, which are kept in memory and transformed in whole batches."""
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
            _die_if_told("train" if self.training else "eval")
        hidden: Tensor = self.dropout(self.norm(self.conv(x)).relu().flatten(1))
        result: Tensor = self.linear(hidden)
        return result


class Hungry(Net):
    """Takes `mebibytes` of memory for each sample besides."""

    def __init__(self, mebibytes: int) -> None:
        super().__init__()
        self._floats = mebibytes * 2**18

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta:
            x.new_zeros(len(x), self._floats)
        return super().forward(x)


def _die_if_told(part: str) -> None:
    _seen[part] += 1
    # One batch is trained in rehearsal, before the run begins.
    if os.environ.get(KILL_IN) == f"{part} {_seen[part] - (part == 'train')}":
        os.kill(os.getpid(), signal.SIGKILL)
