"""What is trained: nets and data small enough for a CPU, each at a batch size and a number of threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import Preset

ALIKE = (
    'schedule=[{ name = "ConstantLR", factor = 1.0 }]',
    "early_stopping=",
    "training.eval_every=1000000",
    "training.log_every=",
)
"""Loops by hand have no schedule and evaluate nothing. Ours steps a schedule that leaves the lr as it is."""

CIFAR_SHAPE = (3, 32, 32)
CLASSES = 10
VALIDATION = 64


@dataclass(frozen=True)
class Workload:
    """One training; `epochs` of it take an arm of the comparison about a second.

    The windows on a live run are as long: in a shorter time a shared core shows more often its best than what
    it gives on the whole. Rounds are `repeats` times as many as elsewhere, where steps are short and noisy.
    """

    name: str
    preset: str
    epochs: int
    threads: int
    overrides: tuple[str, ...] = ()
    device: str = "cpu"
    repeats: int = 1

    def preset_for(self, *overrides: str) -> Preset:
        """The preset that every arm trains, with further overrides."""
        own = (f"training.threads={self.threads}", f"training.device={self.device}")
        return load_preset(self.preset, [*ALIKE, *self.overrides, *own, *overrides])

    @property
    def label(self) -> str:
        """Name and threads, as tables show them."""
        return f"{self.name}, {self.threads} thread{'s' * (self.threads > 1)}"


def cpu_workloads(folder: Path, *, quick: bool) -> list[Workload]:
    """All of them, on one thread and on every core; data that is made up goes into `folder`."""
    every = torch.get_num_threads()
    threads = [1, every] if every > 1 else [1]
    mlp = Workload("digits-mlp", "digits-mlp", 60, 1, repeats=2)
    # The random numbers of dropout, which torch draws one after another, take every arm the same time.
    plain_mlp = replace(mlp, name="digits-mlp, no dropout", overrides=("model.dropout=0",))
    cnn = Workload("digits-cnn", "digits-cnn", 3, 1, repeats=2)
    images = [_cifar_shaped(folder, batch_size) for batch_size in (32, 128)]
    if quick:
        return [mlp, cnn, replace(images[0], threads=every)]
    each = [replace(workload, threads=count) for workload in [mlp, cnn, *images] for count in threads]
    return [plain_mlp, *each]


def _cifar_shaped(folder: Path, batch_size: int) -> Workload:
    """SimpleCNNv3 on 512 images whose brightness goes by their class, as bytes, without random transforms."""
    count = 512 + VALIDATION
    file = folder / "cifar-shaped.npz"
    random = np.random.default_rng(0)
    targets = np.arange(count) % CLASSES
    inputs = random.integers(0, 156, (count, *CIFAR_SHAPE)) + 10 * targets[:, None, None, None]
    np.savez(file, inputs=inputs.astype(np.uint8), targets=targets)
    overrides = (
        "data.name=NPZ", f"data.root={file}", "data.download=", "data.transforms=",
        f"data.val_split={VALIDATION}", f"data.batch_size={batch_size}",
    )  # fmt: skip
    return Workload(f"SimpleCNNv3, batch {batch_size}", "cifar10-simple-v3", 1, 1, overrides)
