"""The learning rate range test: train for some steps while the lr grows, and see where the loss falls.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3; the smoothing, the limit of
divergence and a tenth of the lr at the minimum are fastai's.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from torchconsole.engine.analysis.check_report import print_phase
from torchconsole.engine.analysis.trial_setup import build_trial
from torchconsole.engine.components.optimizers import build_optimizer
from torchconsole.engine.components.parameters import enter_train_mode
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.config.schema import OptimizerConfig, Preset
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.protocol.reports import LearningRateSearch
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.randomness import seed_everything
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.step import TrainingStep

FIRST_LR, LAST_LR = 1e-7, 10.0

DECAY = 0.9
"""Decay of the moving average of the loss, per step."""

DIVERGED = 4.0
"""The test ends when the smoothed loss is this many times its lowest value."""

BEGINNING = 0.1
"""Part of the steps that is not judged: the lr hardly changes the loss there, and the average is noisy."""


def lr_search_report(preset_file: str, steps: str, checkpoint: str | None = None) -> LearningRateSearch:
    """Build what the preset names and make the range test, with the weights of `checkpoint` if given.

    Raises ComponentError and DataError, which name the key to change, TrustError, CheckpointError for a
    checkpoint that cannot be used, and TrainingError if no step can be made.
    """
    preset = with_all_threads(read_preset(Path(preset_file)))
    setup, start, frozen = build_trial(preset, Path(checkpoint) if checkpoint else None)
    search = find_lr(setup, int(steps), start.epoch, print_phase, frozen)
    return search.model_copy(update={"step": start.step}) if checkpoint else search


def with_all_threads(preset: Preset) -> Preset:
    """Leave no number of threads to a clock: sums depend on it, and the result is to be the same again."""
    if preset.training.threads != "auto":
        return preset
    training = preset.training.model_copy(update={"threads": torch.get_num_threads()})
    return preset.model_copy(update={"training": training})


def find_lr(
    setup: TrainingSetup,
    steps: int,
    epoch: int = 0,
    report: ReportPhase = lambda phase: None,
    frozen: Collection[str] = (),
) -> LearningRateSearch:
    """Train for at most `steps` steps from `FIRST_LR` to `LAST_LR`; the weights of `setup` change.

    The optimizer is the preset's, without any state and without the schedule. The lrs of the parameter groups
    keep their ratios; those returned are `optimizer.lr`. `epoch` is the first epoch of the data, from 0: it
    also decides which layers are frozen, besides the parameters named in `frozen`. Raises TrainingError if
    fp16 overflows from the first step on.
    """
    preset = setup.preset
    unfreezes = preset.model.unfreeze_at_epoch is not None
    optimizer = build_optimizer(preset.optimizer, setup.model, setup.user_code, with_frozen=unfreezes)
    trial = dataclasses.replace(setup, optimizer=optimizer, ema=None)
    lrs = np.geomspace(FIRST_LR, LAST_LR, steps)
    seed_everything(preset.training.seed)
    losses: list[float] = []
    smoothed: list[float] = []
    average, lowest, diverged = 0.0, math.inf, False
    for loss in _losses(trial, lrs.tolist(), epoch, frozen):
        if not math.isfinite(loss):
            diverged = True
            break
        losses.append(loss)
        average = DECAY * average + (1 - DECAY) * loss
        smoothed.append(average / (1 - DECAY ** len(losses)))
        if len(losses) > BEGINNING * steps:
            lowest = min(lowest, smoothed[-1])
            # The same as 4 times the lowest for a positive loss.
            if smoothed[-1] > lowest + (DIVERGED - 1) * abs(lowest):
                diverged = True
                break
        report(PhaseChanged(phase="training", done=len(losses), total=steps, unit="steps"))
    return _judged(
        LearningRateSearch(
            device=str(setup.device),
            precision=setup.precision.name,
            lr=preset.optimizer.lr,
            steps=steps,
            lrs=lrs[: len(losses)].tolist(),
            losses=losses,
            smoothed=smoothed,
            diverged=diverged,
        ),
        preset.optimizer,
    )


def _losses(
    setup: TrainingSetup, lrs: Sequence[float], first_epoch: int, frozen: Collection[str]
) -> Iterator[float]:
    """Make a step with each lr and yield the loss before it; one that fp16 left out is made again.

    The host waits for the device at each step, since the loss decides when the test ends.
    """
    meter, progress = LossMeter(), Progress()
    step = TrainingStep(setup, progress, meter)
    groups = setup.optimizer.param_groups
    ratios = [float(group["lr"]) / setup.preset.optimizer.lr for group in groups]
    done = 0
    for epoch in itertools.count(first_epoch):
        progress.batch = 0
        step.begin_epoch()
        enter_train_mode(setup.model, setup.preset.model, first_epoch, frozen)
        for inputs, targets in setup.data.train.epoch(epoch):
            for group, ratio in zip(groups, ratios, strict=True):
                group["lr"] = lrs[done] * ratio
            try:
                if not step(inputs, targets):
                    continue
            except TrainingError:
                if not done:
                    raise
                yield math.inf  # at a large lr, all gradients overflow in fp16
                return
            loss = meter.read()
            if step.skipped and math.isfinite(loss):
                continue
            yield loss
            done += 1
            if done == len(lrs):
                return


def _judged(search: LearningRateSearch, config: OptimizerConfig) -> LearningRateSearch:
    """Add the steepest point, a tenth of the minimum's lr, and the suggestion, if the loss falls at all.

    It falls if the smoothed loss falls by more than single batches differ at the beginning.
    """
    begin = max(2, math.ceil(BEGINNING * search.steps))
    smoothed = np.array(search.smoothed)
    if len(smoothed) < begin + 3:
        return search
    minimum = begin + int(smoothed[begin:].argmin())
    noise = float(np.std(search.losses[:begin]))
    if minimum < begin + 2 or smoothed[begin] - smoothed[minimum] <= noise:
        return search
    slopes: NDArray[np.float64] = np.gradient(
        smoothed[begin : minimum + 1], np.log(search.lrs[begin : minimum + 1])
    )
    steepest = search.lrs[begin + int(slopes.argmin())]
    tenth = search.lrs[minimum] / 10
    suggestion = float(f"{min(steepest, tenth):.2g}")
    return search.model_copy(
        update={
            "steepest": steepest,
            "minimum": search.lrs[minimum],
            "tenth": tenth,
            "suggestion": suggestion,
            "settings": _settings(config, suggestion),
        }
    )


def _settings(config: OptimizerConfig, lr: float) -> list[str]:
    """Return the overrides that give the parameter groups the lrs that they had in the test."""
    own = {
        f"optimizer.groups.{number}.lr": group.arguments["lr"] * lr / config.lr
        for number, group in enumerate(config.groups)
        if "lr" in group.arguments
    }
    return [f"{key}={value:.6g}" for key, value in {"optimizer.lr": lr, **own}.items()]
