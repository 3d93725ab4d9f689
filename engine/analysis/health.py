"""Watches the figures of a running training, and warns in the log, once for each kind, of known faults."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from torch import nn
from torch.nn.utils import get_total_norm

from torchconsole.engine.analysis.health_rules import (
    AccuracyAtChance,
    Evaluation,
    GradientNorm,
    LossDoesNotFall,
    LossSpike,
    LrAtZero,
    Overfitting,
    Rule,
)
from torchconsole.engine.protocol.commands import HoldLearningRate, SetLearningRate
from torchconsole.engine.protocol.events import CommandApplied, EvaluationCompleted, Event, RunResumed
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.event_sink import EventSink
from torchconsole.engine.training.setup import TrainingSetup

log = logging.getLogger(__name__)

MOST_STEPS = 1000
"""Whether a model learns at all is judged after an epoch, or after so many steps of a long one."""

_RECENT = (LossSpike, GradientNorm, Overfitting)
"""Rules that judge the way on which the run is, and begin anew when it is rolled back."""


class HealthMonitor:
    """Passes events and metrics on to `sink`, and looks at them.

    With `from_start`, it also judges what needs the whole history of the run: that the loss falls at all, and
    that the model becomes better than guessing.
    """

    def __init__(self, sink: EventSink, setup: TrainingSetup, *, from_start: bool) -> None:
        self._sink = sink
        self._model: nn.Module = setup.model
        self._is_sharded = setup.shards
        self._lr = LrAtZero(setup.total_steps)
        self._rules: list[Rule] = [*(rule() for rule in _RECENT), self._lr]
        if from_start and setup.preset.model.weights is None:
            enough = min(setup.steps_per_epoch, MOST_STEPS)
            self._rules.append(LossDoesNotFall(setup.preset.optimizer.lr, enough))
            spec = setup.data.spec
            if spec.task in ("multiclass", "binary"):
                self._rules.append(AccuracyAtChance(setup.data.val.samples, len(spec.class_names), enough))
        self._loss_sum, self._lines = 0.0, 0
        self._logged_norm = math.nan
        self._logged_lr = self._evaluated_lr = math.inf

    def emit(self, event: Event) -> None:
        """Pass an event on, and judge evaluations."""
        self._sink.emit(event)
        if isinstance(event, CommandApplied):
            self._lr.changed_by_hand |= isinstance(event.command, SetLearningRate | HoldLearningRate)
        elif isinstance(event, RunResumed):  # a live run was rolled back: what followed is void
            others = [rule for rule in self._rules if not isinstance(rule, _RECENT)]
            self._rules = [*(rule() for rule in _RECENT), *others]
            self._loss_sum, self._lines = 0.0, 0
        elif isinstance(event, EvaluationCompleted) and event.reason == "schedule":
            evaluation = self._describe(event)
            self._loss_sum, self._lines = 0.0, 0
            self._warn(lambda rule: rule.evaluation(evaluation))

    def log(self, point: MetricsPoint) -> None:
        """Pass a line on and judge it."""
        self._sink.log(point)
        self._loss_sum += point.metrics["train/loss"]
        self._lines += 1
        self._logged_lr = point.metrics["lr"]
        self._logged_norm = point.metrics.get("grad_norm", math.nan)
        self._warn(lambda rule: rule.line(point))

    def _describe(self, event: EvaluationCompleted) -> Evaluation:
        return Evaluation(
            step=event.step,
            metrics=event.metrics,
            lr_rises=self._lr_rises(),
            train_loss=self._loss_sum / self._lines if self._lines else math.nan,
            grad_norm=self._last_grad_norm(),
            confusion=event.confusion,
        )

    def _lr_rises(self) -> bool:
        """Return whether the lr is higher than at the last evaluation, as in a warm-up."""
        before, self._evaluated_lr = self._evaluated_lr, self._logged_lr
        return self._logged_lr > before

    def _last_grad_norm(self) -> float:
        """Return the norm of the gradients of the last step: the logged one, from before clipping, if any.

        Otherwise the host waits for the device here, once an evaluation.
        """
        if not math.isnan(self._logged_norm) or self._is_sharded:  # only all processes together can tell
            return self._logged_norm
        found = (p.grad for p in self._model.parameters() if p.grad is not None)
        gradients = [each.coalesce().values() if each.is_sparse else each for each in found]
        return get_total_norm(gradients).item() if gradients else math.nan

    def _warn(self, judge: Callable[[Rule], str]) -> None:
        """Log what the rules report. A rule that has reported is not asked again."""
        for rule in list(self._rules):
            if message := judge(rule):
                log.warning(message)
                self._rules.remove(rule)
