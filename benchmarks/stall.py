"""How long saving a 1 GB checkpoint stalls the training, relative to copying 1 GB in memory.

The stall is the longest time between two steps, from the save until the checkpoint is on disk. The steps are
small, so that anything that holds the interpreter up shows as well.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.paired_stats import interleave, paired_ratio
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.protocol.events import CheckpointFailed, CheckpointSaved, Event
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.train_state import TrainState

WIDTH, QUICK_WIDTH = 16_000, 8_000
"""Width of two hidden layers: 16,000 squared weights between them are 1.02 GB."""


def figures(*, quick: bool) -> list[Figure]:
    """The ratio of the stall to the copy. Needs three times the memory of the checkpoint."""
    width = QUICK_WIDTH if quick else WIDTH
    preset = load_preset("digits-mlp", [f"model.hidden=[{width}, {width}]"])
    parts = build_parts(preset, torch.device("cpu"), lambda phase: None)
    setup = build_setup(parts, lambda phase: None)
    weights = list(setup.model.state_dict().values())
    with tempfile.TemporaryDirectory() as folder:
        outcome = _SaveOutcome()
        writer = AsyncCheckpointWriter(Path(folder), keep=0, emit=outcome)
        writer.start()
        state = TrainState(setup)
        manager = CheckpointManager(setup.preset.checkpoint, state, writer)

        def stall(number: int) -> dict[str, float]:
            state.progress.step += 1
            outcome.done.clear()
            longest = longest_step(lambda: manager.save("last"), outcome.done)
            if outcome.failure:
                raise RuntimeError(outcome.failure)
            return {"stall": longest}

        turns: list[Callable[[int], dict[str, float]]] = [partial(_copy, weights), stall]
        interleave(turns, 1)
        times = interleave(turns, 3 if quick else 5)
    size = sum(weight.nbytes for weight in weights) / 1e9
    ratio = paired_ratio(times["stall"], times["copy"]).median
    return [Figure(f"stall of a checkpoint of {size:.2f} GB / copying it in memory", ratio, "", most=2.0)]


def _copy(weights: list[Tensor], number: int) -> dict[str, float]:
    start = time.perf_counter()
    copies = [weight.clone() for weight in weights]
    seconds = time.perf_counter() - start
    del copies
    return {"copy": seconds}


class _SaveOutcome:
    """Receives the writer's events and records how the save ended."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.failure = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, CheckpointFailed):
            self.failure = event.reason
        if isinstance(event, CheckpointFailed | CheckpointSaved):
            self.done.set()


def longest_step(save: Callable[[], None], done: threading.Event) -> float:
    """Call `save`, then train until `done` is set; returns the duration of the longest step in seconds."""
    inputs = torch.randn(64, 64)
    weight = torch.randn(64, 64, requires_grad=True)
    longest, last = 0.0, time.perf_counter()
    save()
    while not done.is_set():
        loss = (inputs @ weight).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        loss.item()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest
