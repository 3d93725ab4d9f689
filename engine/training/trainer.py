"""The loop: epochs of steps, an evaluation after each, commands at step boundaries, an end.

RunStarted
  for each epoch
    for each batch: step; every log_every steps a MetricsPoint; commands, if any
    EpochCompleted, EvaluationCompleted, EarlyStoppingUpdated, CheckpointSaved(best)
RunFinished
"""

from __future__ import annotations

import time
from typing import Literal, Protocol

from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from torchconsole.engine.components.freezing import frozen_modules, unfreeze
from torchconsole.engine.protocol.events import (
    EarlyStoppingUpdated,
    EpochCompleted,
    EvaluationCompleted,
    Event,
    Metrics,
    PhaseChanged,
    RunFinished,
    RunStarted,
)
from torchconsole.engine.protocol.points import MetricsPoint, flag_nonfinite
from torchconsole.engine.training.clock import TrainingClock
from torchconsole.engine.training.control import CommandQueue
from torchconsole.engine.training.evaluation import evaluate
from torchconsole.engine.training.interventions import Interventions
from torchconsole.engine.training.keeper import StateKeeper
from torchconsole.engine.training.task import Task

SLOW = 0.2
"""Seconds from which an evaluation is announced as a phase of its own."""


class Outbox(Protocol):
    """Where the trainer speaks to; it never waits there."""

    def emit(self, event: Event) -> None:
        """Say something that nobody may miss."""

    def log(self, point: MetricsPoint) -> None:
        """Say the metrics of a step; a microsecond at most."""


class Trainer:
    """Trains a task to its end, and does between two steps what people ask for."""

    def __init__(self, task: Task, keeper: StateKeeper, commands: CommandQueue, outbox: Outbox) -> None:
        self.keeper = keeper
        self.learning_rate = task.learning_rate
        self.emit = outbox.emit
        self._log = outbox.log
        self._task = task
        self._progress = keeper.progress
        self._meter = keeper.meter
        self._clock = TrainingClock(keeper.progress)
        self._interventions = Interventions(self, commands)
        self._log_every = task.log_every
        self._clip_norm = task.preset.training.clip_norm
        self._grad_norm: Tensor | None = None
        self._is_first_step = True
        self._save_is_due = False
        self._outcome: RunFinished | None = None
        self._evaluation_seconds = SLOW

    def run(self) -> RunFinished:
        """Train until a limit, early stopping or a command ends it; the last checkpoint is saved by then."""
        epochs = self._task.preset.training.epochs
        self.emit(
            RunStarted(
                step=self._progress.step,
                epoch=self._progress.epoch,
                steps_per_epoch=self._task.steps_per_epoch,
                total_epochs=epochs,
                total_steps=epochs * self._task.steps_per_epoch,
            )
        )
        self.say("first batch")
        self.start_clock()
        while (outcome := self._outcome) is None:
            if self._progress.epoch >= epochs:
                self.end("finished", "all epochs done")
            elif self.keeper.early_stopping.exhausted:
                self.end("finished", self.keeper.early_stopping.verdict)
            else:
                self._train_epoch()
        self._interventions.refuse_rest("the run has ended")
        self.say("saving")
        self.keeper.save("stop" if outcome.status == "stopped" else "last")
        self.keeper.flush()
        return outcome

    @property
    def ended(self) -> bool:
        """Whether the loop ends after this step."""
        return self._outcome is not None

    def end(self, status: Literal["finished", "stopped"], reason: str) -> None:
        """End the run after this step."""
        self._outcome = RunFinished(
            status=status, reason=reason, step=self._progress.step, epoch=self._progress.epoch
        )

    def say(self, phase: str) -> None:
        """Name what goes on now."""
        self.emit(PhaseChanged(phase=phase))

    def stop_clock(self) -> None:
        """A pause begins."""
        self._clock.tick()

    def start_clock(self) -> None:
        """A pause is over, or training begins."""
        self._clock.start()

    def evaluate(self, reason: Literal["schedule", "command"]) -> Metrics:
        """Evaluate on the validation data and say so; a metric that is not finite is None."""
        task = self._task
        announced = self._evaluation_seconds >= SLOW
        if announced:
            self.say("validating")
        begin = time.perf_counter()
        measured = evaluate(task.model, task.loss_fn, task.data.val, task.metrics)
        self._evaluation_seconds = time.perf_counter() - begin
        metrics, nonfinite = flag_nonfinite(measured)
        self.emit(
            EvaluationCompleted(
                step=self._progress.step,
                epoch=self._current_epoch,
                metrics=metrics,
                nonfinite=nonfinite,
                seconds=self._evaluation_seconds,
                reason=reason,
            )
        )
        if announced:
            self.say("training")
        self._clock.leave_out(self._evaluation_seconds)
        return metrics

    @property
    def _current_epoch(self) -> int:
        """The epoch under way, from 1; between two epochs the one just completed."""
        return self._progress.epoch + (self._progress.batch > 0)

    def _train_epoch(self) -> None:
        begin = time.perf_counter()
        if self._train_batches():
            self._complete_epoch(time.perf_counter() - begin)

    def _train_batches(self) -> bool:
        """The steps that are left of this epoch; False when the run ends before the last of them."""
        task, progress = self._task, self._progress
        nobody_asks = self._interventions.nobody_asks
        self._enter_train_mode()
        for inputs, targets in task.data.train.epoch(progress.epoch, progress.batch):
            self._step(inputs, targets)
            if self._is_first_step:
                self._is_first_step = False
                self.say("training")
            if self._save_is_due:
                self._save_is_due = False
                self.keeper.save("last")
            if not nobody_asks():
                self._interventions.apply_all()
                if self.ended:
                    return False
        return True

    def _enter_train_mode(self) -> None:
        """Training mode, but for layers that are frozen: their running statistics stay as they are."""
        config, model = self._task.preset.model, self._task.model
        if config.unfreeze_at_epoch is not None and self._progress.epoch >= config.unfreeze_at_epoch:
            unfreeze(model, config.freeze)
        model.train()
        for module in frozen_modules(model):
            module.eval()

    def _step(self, inputs: Tensor, targets: Tensor) -> None:
        """One optimizer step. The host waits for the device only where a line is logged."""
        task, progress = self._task, self._progress
        task.optimizer.zero_grad(set_to_none=True)
        loss = task.loss_fn(task.model(inputs), targets)
        if task.penalty is None:
            loss.backward()
        else:
            (loss + task.penalty()).backward()
        if self._clip_norm is not None:
            self._grad_norm = clip_grad_norm_(task.model.parameters(), self._clip_norm)
        task.optimizer.step()
        progress.step += 1
        progress.batch += 1
        self._meter.add(loss.detach(), len(targets))
        if progress.step % self._log_every == 0:
            self._log_line()
        task.learning_rate.step()

    def _log_line(self) -> None:
        samples = self._meter.open_samples
        metrics = {"train/loss": self._meter.read(), "lr": self.learning_rate.current}
        self._clock.trained(samples)
        if self._grad_norm is not None:
            metrics["grad_norm"] = self._grad_norm.item()
        if self._clock.samples_per_sec is not None:
            metrics["samples_per_sec"] = self._clock.samples_per_sec
        progress = self._progress
        self._log(
            MetricsPoint(progress.step, self._current_epoch, time.time(), progress.active_seconds, metrics)
        )
        self._save_is_due = self.keeper.due

    def _complete_epoch(self, seconds: float) -> None:
        progress = self._progress
        progress.epoch += 1
        progress.batch = 0
        self.learning_rate.epoch()
        metrics, nonfinite = flag_nonfinite({"train/loss": self._meter.end_epoch()})
        self.emit(
            EpochCompleted(
                step=progress.step,
                epoch=progress.epoch,
                metrics=metrics,
                nonfinite=nonfinite,
                seconds=seconds,
            )
        )
        self._judge(self.evaluate("schedule"))

    def _judge(self, metrics: Metrics) -> None:
        """Let early stopping, the schedule and the checkpoints go by an epoch's evaluation."""
        stopping = self.keeper.early_stopping
        improved = stopping.update(metrics, self._progress.step)
        self._progress.revision += 1
        self.learning_rate.evaluated(metrics)
        if stopping.stops:
            self.emit(EarlyStoppingUpdated(step=self._progress.step, early_stopping=stopping.info()))
        if improved:
            self.keeper.save("best", metrics)
