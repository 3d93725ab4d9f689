"""Trains on one batch until the model knows it by heart: a test of model, loss and lr that takes seconds.

A model that cannot learn a handful of samples cannot learn a dataset (Karpathy 2019, "A Recipe for Training
Neural Networks").
"""

from __future__ import annotations

import dataclasses
import math
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchconsole.engine.components.optimizers import build_optimizer
from torchconsole.engine.components.parameters import enter_train_mode
from torchconsole.engine.protocol.reports import OverfitReport
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.step import TrainingStep
from torchconsole.engine.training.trial import Batch

SECONDS = 20.0
"""Longest duration."""

LEARNED = 0.05
"""The batch is learned when this part of the first loss is left, above the lowest loss that is possible."""

MOST_POINTS = 200
"""Points of the curve in the report."""

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def overfit(setup: TrainingSetup, batch: Batch, seconds: float = SECONDS) -> OverfitReport:
    """Train on `batch` with the preset's optimizer for at most `seconds`; the weights of `setup` change.

    The lr stays that before the schedule, and dropout is off: both only delay what the test wants to see.
    """
    inputs, targets = batch
    enter_train_mode(setup.model, setup.preset.model, epoch=0)
    for module in setup.model.modules():
        if isinstance(module, DROPOUT):
            module.eval()
    # A new one: the schedule has set the lr of the setup's.
    optimizer = build_optimizer(setup.preset.optimizer, setup.model, setup.user_code)
    trial = dataclasses.replace(setup, optimizer=optimizer)
    losses: list[float] = []
    limit = math.nan
    begin = time.perf_counter()
    while True:
        loss = _step(trial, inputs, targets)
        losses.append(loss)
        if len(losses) == 1:
            limit = _limit(setup, loss, targets)
        spent = time.perf_counter() - begin
        learned = loss <= limit
        if learned or spent >= seconds or not math.isfinite(loss):
            break
    kept = range(0, len(losses) - 1, max(1, math.ceil(len(losses) / MOST_POINTS)))
    return OverfitReport(
        learned=learned,
        samples=len(targets),
        steps=len(losses),
        seconds=spent,
        lr=setup.preset.optimizer.lr,
        limit=limit if math.isfinite(limit) else None,
        curve=[(step + 1, losses[step]) for step in (*kept, len(losses) - 1) if math.isfinite(losses[step])],
    )


def _step(setup: TrainingSetup, inputs: Tensor, targets: Tensor) -> float:
    """Make a step and return the loss before it. The host waits for the device here."""
    losses = LossMeter()
    step = TrainingStep(setup, Progress(), losses)
    while not step(inputs.clone(), targets.clone()):
        pass
    return losses.read()


def _limit(setup: TrainingSetup, first: float, targets: Tensor) -> float:
    """Return the loss from which on the batch counts as learned."""
    floor = _lowest_loss(setup, targets)
    left = LEARNED * (first - floor)
    if setup.data.spec.task != "regression":
        # A model that knows the batch already, from pretrained weights, need not become twenty times better.
        left = max(left, 0.02)
    return floor + left


def _lowest_loss(setup: TrainingSetup, targets: Tensor) -> float:
    """Return the loss of perfect outputs: above 0 for label smoothing, and for the targets of MixUp."""
    loss_fn, classes = setup.loss_fn, len(setup.data.spec.class_names)
    smoothing = [part.label_smoothing for part in loss_fn.modules() if isinstance(part, nn.CrossEntropyLoss)]
    if len(smoothing) != 1 or setup.preset.loss.also:
        return 0.0
    is_soft = targets.is_floating_point() and targets.ndim > 1
    shares = targets if is_soft else F.one_hot(targets.long().flatten().clamp(min=0), classes).float()
    shares = (1 - smoothing[0]) * shares + smoothing[0] / classes
    with torch.no_grad():
        lowest: Tensor = loss_fn(shares.clamp(min=1e-12).log(), targets)
    return lowest.item()
