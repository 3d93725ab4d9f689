"""How long an optimizer step takes on a batch that is on the device already."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from torchconsole.engine.components.parameters import enter_train_mode
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.preserve import preserve
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.step import TrainingStep
from torchconsole.engine.training.trial import Batch

BLOCK_SECONDS = 0.1
"""Steps are timed in blocks of about so long, since the host waits for the device after each."""

MOST_BLOCKS, ENOUGH_SECONDS = 9, 0.5
"""At most so many blocks are timed, and no more once they have taken so long."""


@contextmanager
def trial_step(setup: TrainingSetup) -> Iterator[tuple[TrainingStep, Progress, LossMeter]]:
    """Make steps, with their progress and losses, in training mode; all state is as before on exit."""
    progress, meter = Progress(), LossMeter()
    modules = [setup.model, setup.loss_fn, *([setup.ema.module] if setup.ema else [])]
    with preserve(modules, setup.optimizer, setup.precision.scaler):
        enter_train_mode(setup.model, setup.preset.model, 0)
        yield TrainingStep(setup, progress, meter), progress, meter


def step_seconds(setup: TrainingSetup, batch: Batch) -> float:
    """Return the median seconds of an optimizer step; the training's state is as before afterwards.

    A step over several batches gets the same one several times. Raises what a step raises.
    """
    inputs, targets = batch
    with trial_step(setup) as (step, progress, meter):

        def block(count: int) -> float:
            begin = time.perf_counter()
            for _ in range(count):
                progress.batch = 0
                step.begin_epoch()
                while not step(inputs.detach().clone(), targets.detach().clone()):
                    pass
            meter.read()  # waits for the device
            return (time.perf_counter() - begin) / count

        block(1)  # the first step also allocates the optimizer's state
        count = max(1, math.ceil(BLOCK_SECONDS / block(1)))
        seconds: list[float] = []
        while len(seconds) < MOST_BLOCKS and count * sum(seconds) < ENOUGH_SECONDS:
            seconds.append(block(count))
    return statistics.median(seconds)


def repeated(batch: Batch, size: int) -> Batch:
    """Return a batch of `size` samples, with those of `batch` again and again."""
    inputs, targets = batch
    rows = torch.arange(size, device=inputs.device) % len(targets)
    return inputs.detach()[rows], targets.detach()[rows.to(targets.device)]
