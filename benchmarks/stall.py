"""How long training stands still for a checkpoint of 1 GB, beside the time of copying as much in memory.

The stall is the longest time between two steps from the save on until the checkpoint is on disk. The steps
are small, so that whatever keeps the interpreter from them is seen too.
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
from benchmarks.paired_stats import interleaved, paired
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.protocol.events import CheckpointFailed, CheckpointSaved, Event
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.train_state import StateKeeper

WIDTH, QUICK_WIDTH = 16_000, 8_000
"""Of two hidden layers: 16,000 squared are 1.02 GB of weights between them."""


def figures(*, quick: bool) -> list[Figure]:
    """The stall as a ratio to the copy. Needs three times the memory of the checkpoint."""
    width = QUICK_WIDTH if quick else WIDTH
    preset = load_preset("digits-mlp", [f"model.hidden=[{width}, {width}]"])
    setup = build_setup(preset, torch.device("cpu"), lambda phase: None)
    weights = list(setup.model.state_dict().values())
    with tempfile.TemporaryDirectory() as folder:
        heard = _Heard()
        saver = AsyncCheckpointWriter(Path(folder), keep=0, emit=heard)
        saver.start()
        keeper = StateKeeper(setup, saver)

        def stall(number: int) -> dict[str, float]:
            keeper.progress.step += 1
            heard.done.clear()
            longest = longest_step(lambda: keeper.save("last"), heard.done)
            if heard.failure:
                raise RuntimeError(heard.failure)
            return {"stall": longest}

        turns: list[Callable[[int], dict[str, float]]] = [partial(_copy, weights), stall]
        interleaved(turns, 1)
        times = interleaved(turns, 3 if quick else 5)
    size = sum(weight.nbytes for weight in weights) / 1e9
    ratio = paired(times["stall"], times["copy"]).median
    return [Figure(f"stall of a checkpoint of {size:.2f} GB / copying it in memory", ratio, "", most=2.0)]


def _copy(weights: list[Tensor], number: int) -> dict[str, float]:
    begin = time.perf_counter()
    copies = [weight.clone() for weight in weights]
    seconds = time.perf_counter() - begin
    del copies
    return {"copy": seconds}


class _Heard:
    """What the saver says of the save under way."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.failure = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, CheckpointFailed):
            self.failure = event.reason
        if isinstance(event, CheckpointFailed | CheckpointSaved):
            self.done.set()


def longest_step(save: Callable[[], None], done: threading.Event) -> float:
    """Seconds of the longest of many steps, the first of which begins with the save."""
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
