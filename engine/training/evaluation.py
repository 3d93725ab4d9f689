"""Evaluation: the loss and the metrics over a dataset that is not trained on."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from torchconsole.engine.components.mean_loss import MeanLoss
from torchconsole.engine.components.metric_set import MetricSet
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.components.ranks import ALONE, Ranks
from torchconsole.engine.components.worst_samples import WorstSamples, why_no_worst_samples
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.protocol.events import EvaluationCompleted, Event, PhaseChanged
from torchconsole.engine.protocol.info import ConfusionMatrix, Metrics, RegressionSample, WorstSample
from torchconsole.engine.protocol.points import flag_nonfinite
from torchconsole.engine.training.command_queue import CommandQueue, Terminated
from torchconsole.engine.training.parts import EMA_PREFIX
from torchconsole.engine.training.progress import Progress, each_batch
from torchconsole.engine.training.setup import TrainingSetup

log = logging.getLogger(__name__)

SLOW = 0.2
"""Seconds from which on an evaluation is reported as a phase."""


class Emit(Protocol):
    """Reports an event that nobody may miss."""

    def __call__(self, event: Event) -> None: ...


class Tables(NamedTuple):
    """What an evaluation tells besides its metrics; `missing` says why there is nothing."""

    confusion: ConfusionMatrix | None
    regression: RegressionSample | None
    missing: str
    worst: list[WorstSample]

    @classmethod
    def of(cls, metrics: MetricSet, worst: list[WorstSample]) -> Tables:
        """Return the tables of the batches so far. Waits for the device."""
        confusion, regression = metrics.confusion_matrix(), metrics.regression_sample()
        return cls(confusion, regression, "" if confusion or regression else metrics.why_no_tables(), worst)


class Evaluator:
    """Evaluates the model, and the average of its weights if there is one, on the validation set."""

    def __init__(self, setup: TrainingSetup, progress: Progress, commands: CommandQueue, emit: Emit) -> None:
        self.seconds = SLOW
        """How long the last evaluation took."""
        self._setup = setup
        self._ranks = setup.ranks
        self._progress = progress
        self._commands = commands
        self._emit = emit
        self._warned: set[str] = set()

    def __call__(self, reason: Literal["schedule", "command"]) -> Metrics | None:
        """Evaluate and report it; metrics that are not finite are None.

        Return None if a stop comes, but several processes always evaluate to the end.
        """
        announced = self.seconds >= SLOW
        if announced:
            self._emit(PhaseChanged(phase="evaluating"))
        begin = time.perf_counter()
        ema = self._setup.ema
        self._ranks.share_buffers(self._setup.model, *([ema.module] if ema else []))
        passes = 1 if ema is None else 2
        samples = passes * self._setup.data.val.samples
        # Counts the batches handed to the model, without waiting for the device.
        progress = PhaseProgress(self._emit, "evaluating", samples, unit="samples")
        try:
            with self._commands.running_user_code:
                measured, tables = self._measure(progress)
        except Terminated:
            if not self._ranks.is_alone:
                raise
            return None
        # The schedule and early stopping of all processes must see the same bits.
        metrics, nonfinite = flag_nonfinite(self._ranks.of_leader(measured))
        self.seconds = time.perf_counter() - begin
        self._emit(
            EvaluationCompleted(
                step=self._progress.step,
                epoch=self._progress.current_epoch,
                metrics=metrics,
                nonfinite=nonfinite,
                seconds=self.seconds,
                reason=reason,
                confusion=tables.confusion,
                regression=tables.regression,
                no_tables=tables.missing,
                worst=tables.worst,
            )
        )
        if announced or self.seconds >= SLOW:
            self._emit(PhaseChanged(phase="training"))
        return metrics

    def _measure(self, progress: PhaseProgress) -> tuple[Metrics, Tables]:
        """Return the metrics, and the tables of the model as it is trained."""
        setup = self._setup
        rest = setup.metrics, setup.precision.autocast
        worst = self._worst_samples()
        observe = None if worst is None else worst.update
        # A sharded model gathers its weights from all processes in each pass.
        batches, idle = self._batches(progress), setup.data.idle_passes if self._ranks.is_sharded else 0
        measured = evaluate(setup.model, setup.loss_fn, batches, *rest, observe, self._ranks, idle)
        if worst is not None:
            worst.merge(self._ranks)
        places = setup.data.places["validation"]
        tables = Tables.of(setup.metrics, [] if worst is None else worst.result(places))
        self._warn_of_unavailable(setup.metrics.unavailable)
        if setup.ema is not None:
            module, batches = setup.ema.module, self._batches(progress)
            averaged = evaluate(module, setup.loss_fn, batches, *rest, ranks=self._ranks, idle_passes=idle)
            measured |= {name.replace("val/", EMA_PREFIX, 1): value for name, value in averaged.items()}
        return measured, tables

    def _worst_samples(self) -> WorstSamples | None:
        """Return what keeps the samples with the highest losses; None if it is off, or the loss has none."""
        setup = self._setup
        if not setup.preset.evaluation.worst:
            return None
        if why := why_no_worst_samples(setup.loss_fn):
            if "worst" not in self._warned:
                log.info("the samples with the highest losses are not kept: %s", why)
            self._warned.add("worst")
            return None
        return WorstSamples(
            setup.preset.evaluation.worst, setup.loss_fn, setup.data.spec, setup.data.first_validated
        )

    def _warn_of_unavailable(self, reasons: Mapping[str, str]) -> None:
        """Log why metrics cannot be computed, once for each, and how early stopping takes it."""
        preset = self._setup.preset
        parts = [member for part in preset.schedule for member in part.members.values()]
        watchers = {member.monitor: member.name for member in parts}
        if preset.early_stopping is not None:
            watchers[preset.early_stopping.monitor] = "early stopping"
        for name, reason in reasons.items():
            if name in self._warned:
                continue
            self._warned.add(name)
            counted = f"; {watchers[name]} counts this as no improvement" if name in watchers else ""
            log.warning("%s is n/a at step %s: %s%s", name, f"{self._progress.step:,}", reason, counted)

    def _batches(self, progress: PhaseProgress) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the validation set. Raises Terminated once a stop is requested: all of it may take long."""
        for batch in each_batch(self._setup.data.val, self._commands, is_alone=self._ranks.is_alone):
            if self._commands.stop_requested and self._ranks.is_alone:
                raise Terminated
            yield batch
            progress.advance(len(batch[1]))


class EvaluationSchedule:
    """When the preset asks for an evaluation: every so many steps or epochs."""

    def __init__(self, preset: Preset, progress: Progress) -> None:
        self._progress = progress
        self.follow_preset(preset)

    def follow_preset(self, preset: Preset) -> None:
        """Evaluate as often as the preset says from now on."""
        self._every = preset.training.eval_every
        self._by_step = preset.training.eval_interval == "step"

    @property
    def is_done(self) -> bool:
        """Whether the evaluation after the current step is done."""
        return self._progress.evaluated == self._progress.step

    @property
    def is_due(self) -> bool:
        """Whether to evaluate at this step boundary."""
        progress = self._progress
        if self._by_step:
            return progress.step % self._every == 0 and not self.is_done
        return progress.batch == 0 and progress.epoch % self._every == 0

    @property
    def is_overdue(self) -> bool:
        """Whether the evaluation after the current step is still to be made.

        A stop had interrupted it when the checkpoint was taken, or a command has made it due after the step.
        """
        return self._progress.step > 0 and self.is_due and not self.is_done


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    loss_fn: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    metrics: MetricSet,
    autocast: AbstractContextManager[object] | None = None,
    observe: Callable[[Tensor, Tensor], None] | None = None,
    ranks: Ranks = ALONE,
    idle_passes: int = 0,
) -> Metrics:
    """Return `val/loss` (see `MeanLoss`) and `metrics` of `model` in eval mode.

    They are those of the batches of all `ranks`. A metric that cannot be computed is None, and
    `metrics.unavailable` says why. `observe` gets the outputs and targets of each batch. After the last batch
    follow `idle_passes` with the inputs of the first, which count for nothing. The modes of the model's
    modules are restored; no random numbers are drawn.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    metrics.reset()
    mean_loss = MeanLoss(loss_fn)
    spare: Tensor | None = None
    try:
        for inputs, targets in batches:
            if idle_passes and spare is None:
                spare = inputs.clone()  # a model may write to its inputs
            with autocast or contextlib.nullcontext():
                outputs = model(inputs)
                mean_loss.update(outputs, targets)
                if observe is not None:
                    observe(outputs, targets)
            metrics.update(outputs, targets)
        for _ in range(idle_passes):
            assert spare is not None
            with autocast or contextlib.nullcontext():
                model(spare.clone())
    finally:
        for module, training in modes:
            module.training = training
    # The host waits for the device here, once an evaluation.
    loss = mean_loss.compute(ranks)
    metrics.merge(ranks)
    return {"val/loss": loss, **metrics.compute()}
