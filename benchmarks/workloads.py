"""The workloads: models and data small enough for a CPU, each with a batch size and a number of threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import Preset

COMMON_OVERRIDES = (
    'schedule=[{ name = "ConstantLR", factor = 1.0 }]',
    "early_stopping=",
    "training.eval_every=1000000",
    "training.log_every=",
)
"""The hand-written loops have no schedule and no evaluation. Ours steps a schedule that keeps the lr."""

CIFAR_SHAPE = (3, 32, 32)
CLASSES = 10
VALIDATION = 64


@dataclass(frozen=True)
class Workload:
    """One training; `epochs` is chosen so that a variant takes about a second.

    The windows of a live run are as long: in shorter windows a shared core shows its peak speed more often
    than its average. `repeats` multiplies the rounds for workloads whose steps are short and noisy.
    """

    name: str
    preset: str
    epochs: int
    threads: int
    overrides: tuple[str, ...] = ()
    device: str = "cpu"
    repeats: int = 1

    def preset_for(self, *overrides: str) -> Preset:
        """The preset that every variant trains, with further overrides."""
        machine = (f"training.threads={self.threads}", f"training.device={self.device}")
        return load_preset(self.preset, [*COMMON_OVERRIDES, *self.overrides, *machine, *overrides])

    @property
    def label(self) -> str:
        """Name and number of threads, as the tables show them."""
        return f"{self.name}, {self.threads} thread{'s' * (self.threads > 1)}"


def cpu_workloads(folder: Path, *, quick: bool) -> list[Workload]:
    """All CPU workloads, on one thread and on every core; generated data is written to `folder`."""
    all_threads = torch.get_num_threads()
    thread_counts = [1, all_threads] if all_threads > 1 else [1]
    mlp = Workload("digits-mlp", "digits-mlp", 60, 1, repeats=2)
    # torch draws dropout's random numbers one after another, which takes the same time in every variant.
    mlp_without_dropout = replace(mlp, name="digits-mlp, no dropout", overrides=("model.dropout=0",))
    cnn = Workload("digits-cnn", "digits-cnn", 3, 1, repeats=2)
    images = [_cifar_shaped(folder, batch_size) for batch_size in (32, 128)]
    if quick:
        return [mlp, cnn, replace(images[0], threads=all_threads)]
    each = [replace(workload, threads=count) for workload in [mlp, cnn, *images] for count in thread_counts]
    return [mlp_without_dropout, *each]


def _cifar_shaped(folder: Path, batch_size: int) -> Workload:
    """SimpleCNNv3Wide on 512 uint8 images whose brightness depends on the class; no random transforms."""
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
    return Workload(f"SimpleCNNv3Wide, batch {batch_size}", "cifar10-simple-v3-wide", 1, 1, overrides)
