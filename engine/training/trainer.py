"""The loop: epochs of steps, evaluations, commands at step boundaries, an end.

RunStarted
  for each epoch
    for each step: every log_every steps a MetricsPoint; an evaluation where one is due; commands, if any
    EpochCompleted
  after an evaluation: EvaluationCompleted, EarlyStoppingUpdated, CheckpointSaved(best)
RunFinished
"""

from __future__ import annotations

import logging
import time
from typing import Literal, Protocol

from torchconsole.engine.components.parameters import frozen_modules, unfreeze
from torchconsole.engine.errors import CheckpointError, TrainingError
from torchconsole.engine.protocol.events import (
    EarlyStoppingUpdated,
    EpochCompleted,
    Event,
    PhaseChanged,
    PhaseName,
    RunFinished,
    RunStarted,
)
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.protocol.points import MetricsPoint, flag_nonfinite
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.clock import TrainingClock
from torchconsole.engine.training.command_handler import CommandHandler
from torchconsole.engine.training.command_queue import CommandQueue, Terminated
from torchconsole.engine.training.evaluation import Evaluator
from torchconsole.engine.training.failures import named_failures
from torchconsole.engine.training.limits import Limits
from torchconsole.engine.training.lr_forecast import LrForecaster
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.step import TrainingStep
from torchconsole.engine.training.train_state import TrainState

log = logging.getLogger(__name__)


class EventSink(Protocol):
    """Where the trainer speaks to; it never waits there."""

    def emit(self, event: Event) -> None:
        """Say something that nobody may miss."""

    def log(self, point: MetricsPoint) -> None:
        """Say the metrics of a step; a microsecond at most."""


class Trainer:
    """Trains a task to its end, and does between two steps what people ask for."""

    def __init__(
        self,
        setup: TrainingSetup,
        state: TrainState,
        checkpoints: CheckpointManager,
        commands: CommandQueue,
        events: EventSink,
    ) -> None:
        self.state = state
        self.checkpoints = checkpoints
        self.learning_rate = setup.learning_rate
        self.emit = events.emit
        self._log = events.log
        self._setup = setup
        self._progress = state.progress
        self._meter = state.meter
        self._clock = TrainingClock(state.progress)
        self._step = TrainingStep(setup, state.progress, state.meter)
        self._evaluator = Evaluator(setup, state.progress, commands, lambda event: self.emit(event))
        self._limits = Limits(setup.preset.training, state.early_stopping)
        self._command_handler = CommandHandler(self, commands)
        self._forecaster = LrForecaster(events.emit)
        self._commands = commands
        self._log_every = setup.log_every
        self._eval_every = setup.preset.training.eval_every
        self._evaluates_by_step = setup.preset.training.eval_interval == "step"
        self._is_first_step = True
        self._outcome: RunFinished | None = None

    def run(self) -> RunFinished:
        """Train until a limit, early stopping or a command ends it; the last checkpoint is saved by then.

        Raises TrainingError where the loss is not finite and the preset says to stop then, what
        `named_failures` tells of, and Terminated where a signal ends it within a step. What was to be saved
        before is on disk then, too.
        """
        try:
            with named_failures():
                return self._run()
        finally:
            self.checkpoints.flush()

    def _run(self) -> RunFinished:
        setup, progress = self._setup, self._progress
        self.emit(
            RunStarted(
                step=progress.step,
                epoch=progress.epoch,
                steps_per_epoch=setup.steps_per_epoch,
                total_epochs=setup.total_epochs,
                total_steps=setup.total_steps,
                lr_scale=self.learning_rate.scale,
                lr_held=self.learning_rate.held,
            )
        )
        self._plan_schedule()
        self.begin_phase("first batch")
        self.start_clock()
        self._make_up_evaluation()
        self._end_if_over()
        while (outcome := self._outcome) is None:
            self._train_epoch()
        self._forecaster.cancel()
        self._command_handler.refuse_rest("the run has ended")
        self.begin_phase("saving")
        self.checkpoints.save("stop" if outcome.status == "stopped" else "last")
        if failure := self.checkpoints.flush():
            return outcome.model_copy(update={"reason": f"{outcome.reason}; {failure}"})
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

    def begin_phase(self, phase: PhaseName) -> None:
        """Report what the run does from now on."""
        self.emit(PhaseChanged(phase=phase))

    def stop_clock(self) -> None:
        """A pause begins."""
        self._clock.tick()

    def start_clock(self) -> None:
        """A pause is over, or training begins."""
        self._clock.start()

    def evaluate(self, reason: Literal["schedule", "command"]) -> Metrics | None:
        """Evaluate on the validation data and say so; a metric that is not finite is None.

        None when the run is asked to stop meanwhile: it does not wait for the rest.
        """
        metrics = self._evaluator(reason)
        if metrics is not None:
            self._clock.leave_out(self._evaluator.seconds)
        return metrics

    def _train_epoch(self) -> None:
        """The steps that are left of this epoch, and its end, unless the run ends before."""
        setup, progress, step = self._setup, self._progress, self._step
        last = setup.data.train.batches_per_epoch
        if progress.batch >= last:
            raise CheckpointError(
                f"the checkpoint stands after {progress.batch:,} batches of an epoch, and the data gives "
                f"{last:,} now: it has become smaller"
            )
        begin = time.perf_counter()
        self._enter_train_mode()
        step.begin_epoch()
        try:
            for inputs, targets in self._commands.each(
                setup.data.train.epoch(progress.epoch, progress.batch)
            ):
                if not step(inputs, targets):
                    continue
                if not step.skipped:
                    self._complete_step()
                if progress.batch == last:
                    self._complete_epoch(time.perf_counter() - begin)
                self._reach_boundary()
                if self.ended:
                    return
        except Terminated as signal:
            self._end_wait(signal)

    def _end_wait(self, signal: Terminated) -> None:
        """Data that may never come is not waited for: the run ends where it stands."""
        if self._step.is_within_group:
            raise Terminated(
                f"{signal}, amid the batches of one step; the last checkpoint stands"
            ) from signal
        log.warning("%s", signal)
        self._command_handler.apply_all()

    def _enter_train_mode(self) -> None:
        """Training mode, but for layers that are frozen: their running statistics stay as they are."""
        config, model = self._setup.preset.model, self._setup.model
        if config.unfreeze_at_epoch is not None and self._progress.epoch >= config.unfreeze_at_epoch:
            unfreeze(model, config.freeze)
        model.train()
        for module in frozen_modules(model):
            module.eval()

    def _complete_step(self) -> None:
        """Log where a line is due. The host waits for the device only then."""
        if self._progress.step % self._log_every == 0:
            self._log_line()
        self.learning_rate.step()
        if self._is_first_step:
            self._is_first_step = False
            self.begin_phase("training")

    def _log_line(self) -> None:
        samples, progress = self._meter.samples, self._progress
        if self._commands.was_suspended:
            # The process stood still since the line before, nobody knows from when on.
            self._commands.was_suspended = False
            self.start_clock()
        metrics = {"train/loss": self._meter.read(), "lr": self.learning_rate.current}
        self._clock.trained(samples)
        if self._step.grad_norm is not None:
            metrics["grad_norm"] = self._step.grad_norm.item()
        if self._clock.samples_per_sec is not None:
            metrics["samples_per_sec"] = self._clock.samples_per_sec
        left_out = self._take_nonfinite()
        if progress.skipped:
            metrics["skipped_steps"] = progress.skipped
        self._log(
            MetricsPoint(progress.step, progress.current_epoch, time.time(), progress.active_seconds, metrics)
        )
        self._judge_nonfinite(left_out)

    def _take_nonfinite(self) -> list[int]:
        """The steps, each told once, whose loss was not finite; those that were left out are counted."""
        steps = self._meter.take_nonfinite()
        if self._setup.preset.training.nonfinite == "skip":
            self._progress.skipped += len(steps)
        return steps

    def _judge_losses(self) -> None:
        """Before anything is saved: what stops the run must not be saved first.

        The host waits for the device here, as an evaluation or a save does anyway.
        """
        self._meter.collect()
        self._judge_nonfinite(self._take_nonfinite())

    def _judge_nonfinite(self, steps: list[int]) -> None:
        """Go on without the `steps` whose loss was nan or infinite, or raise TrainingError."""
        if not steps:
            return
        if self._setup.preset.training.nonfinite == "skip":
            shown = ", ".join(f"{step:,}" for step in steps[:5]) + (", ..." if len(steps) > 5 else "")
            log.warning("the loss or a gradient was not finite: step %s left out", shown)
            return
        raise TrainingError(
            f"the loss was not finite at step {steps[0]:,}: try a lower optimizer.lr or training.clip_norm, "
            'or leave such steps out with training.nonfinite = "skip"; checkpoints are from before'
        )

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

    def _reach_boundary(self) -> None:
        """Between two steps: evaluate and save where that is due, see whether the run is over, obey."""
        self._clock.tick()
        if self._evaluation_is_due:
            self._evaluate_on_schedule()
        self._end_if_over()
        if not self._command_handler.is_empty():
            self._judge_losses()
            self._command_handler.apply_all()
        if self.checkpoints.due and not self.ended:
            self._judge_losses()
            self.checkpoints.save("last")

    @property
    def _evaluation_is_due(self) -> bool:
        progress, every = self._progress, self._eval_every
        if self._evaluates_by_step:
            return progress.step % every == 0 and progress.evaluated != progress.step
        return progress.batch == 0 and progress.epoch % every == 0

    def _make_up_evaluation(self) -> None:
        """The run goes on from a checkpoint that was taken when a stop had cut an evaluation short."""
        if (
            self._progress.step
            and self._evaluation_is_due
            and self._progress.evaluated != self._progress.step
        ):
            self._evaluate_on_schedule()

    def _evaluate_on_schedule(self) -> None:
        """Let early stopping, schedule and checkpoints go by an evaluation, unless it is cut short."""
        self._judge_losses()
        metrics = self.evaluate("schedule")
        if metrics is None:
            return
        stopping, progress = self.state.early_stopping, self._progress
        improved = stopping.update(metrics, progress.step)
        self.state.evaluated(metrics)
        if self.learning_rate.evaluated(metrics):
            self._plan_schedule()
        if stopping.stops:
            self.emit(EarlyStoppingUpdated(step=progress.step, early_stopping=stopping.info()))
        if improved:
            self.checkpoints.save("best")

    def _plan_schedule(self) -> None:
        """Have it said what the schedule has in store from here on."""
        progress = self._progress
        done = progress.batch // self._setup.preset.training.grad_accum_steps
        self._forecaster.plan(self.learning_rate, progress.step, done)

    def _end_if_over(self) -> None:
        """End the run where a limit is reached; its last weights are evaluated by then."""
        verdict = self._limits.verdict(self._progress)
        if verdict is None or self.ended:
            return
        self._judge_losses()
        if self._progress.evaluated != self._progress.step:
            self._evaluate_on_schedule()
        if self._commands.stop_requested and self._progress.evaluated != self._progress.step:
            return
        stopping = self._setup.preset.early_stopping
        if stopping is not None and stopping.restore_best:
            verdict += self._restore_best()
        if skipped := self._progress.skipped:
            verdict += f"; {skipped:,} steps were left out, as they were not finite"
        self.end("finished", verdict)

    def _restore_best(self) -> str:
        """What to say of it. A best checkpoint that is gone costs the run nothing else."""
        try:
            best = self.checkpoints.restore_best()
        except CheckpointError as error:
            return f"; the best weights cannot be restored: {error}"
        if best is None:
            return ""
        return f"; the weights are those of step {best.step:,}, {best.metric} {best.value:.4g}"
