"""Lightning on the same task, with its rich bar in a terminal and bare: no bar, logger or checkpoint.

The data comes as in the tutorial loop, which is how its own tutorials have it. Timed from the first epoch's
begin to the last one's end. Needs the extra `bench`.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import lightning
from lightning.pytorch.callbacks import Callback, RichProgressBar
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from benchmarks.loops import Samples
from benchmarks.terminal import COLUMNS, ROWS, open_terminal
from benchmarks.variants import BARE, RICH, Arm, Trained, build, optimizer_by_hand, tensors
from benchmarks.workloads import Workload


class _Module(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
    """The task's model; with `shows` the loss goes to the bar at each step."""

    def __init__(self, model: nn.Module, loss_fn: nn.Module, optimizer: Optimizer, *, shows: bool) -> None:
        super().__init__()
        self.model, self.loss_fn, self._optimizer, self._shows = model, loss_fn, optimizer, shows

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        inputs, targets = batch
        loss: Tensor = self.loss_fn(self.model(inputs), targets)
        if self._shows:
            self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Optimizer:
        return self._optimizer


class _Watch(Callback):  # type: ignore[misc, unused-ignore]
    """Notes when training begins and ends."""

    begin = end = 0.0

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.begin = self.begin or time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.end = time.perf_counter()


def lightning_arms(workload: Workload, epochs: int) -> dict[str, Arm]:
    """Both arms."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    return {
        BARE: lambda seed: _train(workload, epochs, seed, [], shows=False),
        RICH: lambda seed: _with_bar(workload, epochs, seed),
    }


def _with_bar(workload: Workload, epochs: int, seed: int) -> Trained:
    with _drained_terminal() as terminal:
        console = {"file": terminal, "force_terminal": True, "width": COLUMNS, "height": ROWS}
        return _train(workload, epochs, seed, [RichProgressBar(console_kwargs=console)], shows=True)


def _train(workload: Workload, epochs: int, seed: int, bars: list[Callback], *, shows: bool) -> Trained:
    task, watch = build(workload, epochs, seed), _Watch()
    inputs, targets = tensors(task)
    loader = DataLoader(Samples(inputs, targets), batch_size=task.preset.data.batch_size, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator=task.device.type,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=bool(bars),
        callbacks=[*bars, watch],
    )
    model = _Module(task.model, task.loss_fn, optimizer_by_hand(workload, task.model), shows=shows)
    trainer.fit(model, loader)
    return Trained(watch.end - watch.begin, epochs * len(inputs), trainer.global_step, [])


@contextmanager
def _drained_terminal() -> Iterator[TextIO]:
    """A terminal of 120x40 that another process reads."""
    ours, theirs = open_terminal()
    reader = subprocess.Popen(["cat"], stdin=ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(ours)
    try:
        with os.fdopen(theirs, "w") as terminal:
            yield terminal
    finally:
        reader.kill()
        reader.wait()
