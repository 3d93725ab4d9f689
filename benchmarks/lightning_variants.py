"""Lightning with the same model and data: with its rich progress bar in a terminal, and bare.

Bare means no progress bar, logger or checkpoints. The data loader is that of the tutorial loop, as in
Lightning's own tutorials. Timed from the start of the first epoch to the end of the last. Needs the extra
`bench`.
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

from benchmarks.loops import SampleDataset
from benchmarks.terminal import COLUMNS, ROWS, open_terminal
from benchmarks.variants import BARE, RICH, TrainingResult, Variant, build, plain_optimizer, tensors
from benchmarks.workloads import Workload


class _Module(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
    """The workload's model; with `show_loss` the progress bar shows the loss at each step."""

    def __init__(
        self, model: nn.Module, loss_fn: nn.Module, optimizer: Optimizer, *, show_loss: bool
    ) -> None:
        super().__init__()
        self.model, self.loss_fn, self._optimizer, self._show_loss = model, loss_fn, optimizer, show_loss

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        inputs, targets = batch
        loss: Tensor = self.loss_fn(self.model(inputs), targets)
        if self._show_loss:
            self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Optimizer:
        return self._optimizer


class _Timer(Callback):  # type: ignore[misc, unused-ignore]
    """Records when training starts and ends."""

    start = end = 0.0

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.start = self.start or time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.end = time.perf_counter()


def lightning_variants(workload: Workload, epochs: int) -> dict[str, Variant]:
    """Both variants, by name."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    return {
        BARE: lambda seed: _train(workload, epochs, seed, [], show_loss=False),
        RICH: lambda seed: _with_bar(workload, epochs, seed),
    }


def _with_bar(workload: Workload, epochs: int, seed: int) -> TrainingResult:
    with _drained_terminal() as terminal:
        console = {"file": terminal, "force_terminal": True, "width": COLUMNS, "height": ROWS}
        return _train(workload, epochs, seed, [RichProgressBar(console_kwargs=console)], show_loss=True)


def _train(
    workload: Workload, epochs: int, seed: int, bars: list[Callback], *, show_loss: bool
) -> TrainingResult:
    setup, timer = build(workload, epochs, seed), _Timer()
    inputs, targets = tensors(setup)
    loader = DataLoader(SampleDataset(inputs, targets), batch_size=setup.preset.data.batch_size, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator=setup.device.type,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=bool(bars),
        callbacks=[*bars, timer],
    )
    model = _Module(setup.model, setup.loss_fn, plain_optimizer(workload, setup.model), show_loss=show_loss)
    trainer.fit(model, loader)
    return TrainingResult(timer.end - timer.start, epochs * len(inputs), trainer.global_step, [])


@contextmanager
def _drained_terminal() -> Iterator[TextIO]:
    """A terminal of 120x40 whose output another process reads."""
    ours, theirs = open_terminal()
    reader = subprocess.Popen(["cat"], stdin=ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(ours)
    try:
        with os.fdopen(theirs, "w") as terminal:
            yield terminal
    finally:
        reader.kill()
        reader.wait()
