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
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.protocol.events import (
    EarlyStoppingUpdated,
    EpochCompleted,
    ModelSummarized,
    PhaseChanged,
    PhaseName,
    RunFinished,
)
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.protocol.points import MetricsPoint, flag_nonfinite
from torchconsole.engine.run.names import PROFILE_FILE
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.command_handler import CommandHandler, Outcome
from torchconsole.engine.training.command_queue import (
    Abandoned,
    ByClock,
    Channel,
    CommandQueue,
    Request,
    Terminated,
)
from torchconsole.engine.training.data_wait import DataWait
from torchconsole.engine.training.evaluation import EvaluationSchedule, Evaluator
from torchconsole.engine.training.event_sink import EventSink
from torchconsole.engine.training.failures import named_failures
from torchconsole.engine.training.frozen_layers import count_trainable
from torchconsole.engine.training.layer_watch import LayerWatch
from torchconsole.engine.training.live_changes import LivePreset
from torchconsole.engine.training.live_profile import LiveProfile
from torchconsole.engine.training.lr_forecast import LrForecaster
from torchconsole.engine.training.nonfinite import NonfiniteCheck
from torchconsole.engine.training.progress import TrainingClock, each_batch
from torchconsole.engine.training.roll_back import roll_back
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.step import TrainingStep
from torchconsole.engine.training.step_phases import StepPhases
from torchconsole.engine.training.stopping import Limits
from torchconsole.engine.training.train_state import TrainState

log = logging.getLogger(__name__)


class Trainer:
    """Trains to the end of a run, and applies commands between two steps."""

    def __init__(
        self,
        setup: TrainingSetup,
        state: TrainState,
        checkpoints: CheckpointManager,
        commands: CommandQueue,
        events: EventSink,
        channel: Channel | None = None,
    ) -> None:
        """`channel`: where commands come from if several processes apply them."""
        training = setup.preset.training
        self.state = state
        self.checkpoints = checkpoints
        self.learning_rate = setup.learning_rate
        self.emit = events.emit
        self._log = events.log
        self._setup = setup
        self._progress = state.progress
        self._meter = state.meter
        self._clock = TrainingClock(state.progress)
        self._data_wait = DataWait(setup.data.one_by_one, state.progress.active_seconds)
        self.phases = StepPhases(setup.device, setup.log_every, setup.ranks, is_compiled=training.compile)
        self._step = TrainingStep(setup, state.progress, state.meter, self.phases)
        self._nonfinite = NonfiniteCheck(training.nonfinite, state.meter, state.progress)
        self.count_left_out = self._nonfinite.count_left_out
        self._evaluator = Evaluator(setup, state.progress, commands, lambda event: self.emit(event))
        self._limits = Limits(setup.preset, state.early_stopping, own_clock=setup.ranks.is_alone)
        self._profile = LiveProfile(
            setup, lambda event: self.emit(event), lambda: checkpoints.folder.parent / PROFILE_FILE
        )
        profile = self._begin_profile if setup.ranks.leads else None
        self._command_handler = CommandHandler(self, commands, profile, channel, self._obey_clock)
        self._forecaster = LrForecaster(events.emit)
        self._commands = commands
        self._schedule = EvaluationSchedule(setup.preset, state.progress)
        self._live_preset = LivePreset(
            setup, state, lambda: (checkpoints, self.phases, self._step, self._limits, self._schedule)
        )
        self.change_setting = self._live_preset.change
        self._is_first_step = True
        self._leaves_epoch = True
        """Whether the next batch is not the one after the last: the run begins, was rolled back, or ends."""
        self._outcome: RunFinished | None = None

    def run(self) -> RunFinished:
        """Train until a limit, early stopping or a command ends the run, and save its last checkpoint.

        Raises TrainingError if the loss is not finite and the preset stops then, what `named_failures`
        raises, and Terminated if a signal ends it within a step. Checkpoints handed in before are on disk
        in each case.
        """
        try:
            with named_failures():
                return self._run()
        finally:
            self.checkpoints.flush()

    def _run(self) -> RunFinished:
        self.emit(self._setup.started(self._progress))
        self._forecast_lr()
        self.begin_phase("first batch")
        self.start_clock()
        self.phases.start()
        while (outcome := self._outcome) is None:
            if self._leaves_epoch:
                self._continue()
            else:
                self._train_epoch()
        self._forecaster.cancel()
        self._profile.end(self._progress.step)
        self._command_handler.reject_rest("the run has ended")
        self.begin_phase("saving")
        self.checkpoints.save("stop" if outcome.status == "stopped" else "last")
        if failure := self.checkpoints.flush():
            return outcome.model_copy(update={"problem": failure})
        return outcome

    @property
    def ended(self) -> bool:
        """Whether the loop ends after this step."""
        return self._outcome is not None

    def end(self, status: Literal["finished", "stopped"], reason: str) -> None:
        """End the run after this step."""
        self._leaves_epoch = True
        self._outcome = RunFinished(
            status=status, reason=reason, step=self._progress.step, epoch=self._progress.epoch
        )

    def begin_phase(self, phase: PhaseName) -> None:
        """Report what the run does from now on."""
        self.emit(PhaseChanged(phase=phase))

    def stop_clock(self) -> None:
        """Stop measuring active time: a pause begins."""
        self._end_profile()
        self._clock.tick()

    def start_clock(self) -> None:
        """Measure active time: training begins, or a pause is over."""
        self._clock.start()

    def evaluate(self, reason: Literal["schedule", "command"]) -> Metrics | None:
        """Evaluate on the validation set and report it; a metric that is not finite is None.

        Returns None if a stop is requested meanwhile: the rest of the set is not waited for.
        """
        self._end_profile()
        with self._aside():
            return self._evaluator(reason)

    def read_clock(self) -> ByClock | None:
        """Return what the clock asks of all processes at this boundary, if this one leads them."""
        if self._limits.is_time_over(self._progress):
            return ByClock(ends=True)
        return ByClock(ends=False) if self.checkpoints.is_time_over else None

    def _obey_clock(self, command: ByClock) -> None:
        """Do what the clock of the leading process asks."""
        self._limits.is_time_up = command.ends
        return self._end_if_over() if command.ends else self.checkpoints.save("last")

    def _begin_profile(self, request: Request) -> None:
        self._profile.begin(request, self._progress.step)

    def measure_layers(self, every: int) -> None:
        """Measure the layers in the next step, then every `every` steps; 0 ends that."""
        self._step.watch = LayerWatch(self._setup, every, self.emit) if every else None

    def freeze_layer(self, layer: str, *, is_frozen: bool) -> str:
        """Freeze a layer or train it again; return what was done. Raises CommandRejectedError."""
        frozen, epoch = self.state.frozen, self._progress.epoch
        effect = frozen.freeze(layer, epoch) if is_frozen else frozen.unfreeze(layer, epoch)
        self._step.follow_model()
        if self._setup.preset.training.compile:
            effect += "; the next step compiles the model again"
        return effect

    def roll_back(self, checkpoint: str | None) -> Outcome:
        """Go back to a checkpoint of this run. Raises CommandRejectedError, and then nothing has changed."""
        self._end_profile()
        with self._clock.standing():  # of a rejected one, nothing is to be seen later
            outcome = roll_back(self._setup, self.state, self.checkpoints, self.emit, checkpoint)
        self._leaves_epoch = True
        self.state.frozen.enter_train_mode(self._progress.epoch)
        self._step.restart()
        if self._step.watch is not None:
            self.measure_layers(self._step.watch.every)
        self.phases.drop()
        self._data_wait.restart(self._progress.active_seconds)
        self.start_clock()
        self._forecast_lr()
        return outcome._replace(then=self.summarize())

    def summarize(self) -> ModelSummarized | None:
        """Return the layer table as it is now; None if there is none."""
        table, model = self._setup.summary, self._setup.model
        return None if table is None else ModelSummarized(summary=count_trainable(table, model))

    def _continue(self) -> None:
        """Do what is left to do after the step of a checkpoint or a change: it may be the last of the run."""
        self._leaves_epoch = False
        if self._schedule.is_overdue:
            self._evaluate_on_schedule()
        self._end_if_over()

    def _train_epoch(self) -> None:
        """Train on what is left of this epoch, unless the run ends or is rolled back before."""
        setup, progress, step = self._setup, self._progress, self._step
        last = setup.data.train.batches_per_epoch
        if progress.batch >= last:
            raise CheckpointError(
                f"the checkpoint was taken after {progress.batch:,} batches of an epoch, but the training "
                f"set now has only {last:,}: it has become smaller"
            )
        begin = time.perf_counter()
        self.state.frozen.enter_train_mode(progress.epoch)
        self._live_preset.begin_epoch()
        step.begin_epoch()
        try:
            batches = self._data_wait.timed(setup.data.train.epoch(progress.epoch, progress.batch))
            for inputs, targets in each_batch(batches, self._commands, is_alone=setup.ranks.is_alone):
                with self._commands.running_user_code:
                    completes = step(inputs, targets)
                if not completes:
                    continue
                if not step.skipped:
                    self._complete_step()
                if progress.batch == last:
                    self._complete_epoch(time.perf_counter() - begin)
                self._reach_boundary()
                if self._leaves_epoch:
                    return
        except Abandoned:
            raise
        except Terminated as signal:
            self._end_wait(signal)

    def _end_wait(self, signal: Terminated) -> None:
        """End the run where it is: a batch that may never come is not waited for."""
        if self._step.is_within_group:
            raise Terminated(
                f"{signal}, between the batches of one step; resume from the last checkpoint"
            ) from signal
        log.warning("%s", signal)
        self._command_handler.apply_all()

    def _complete_step(self) -> None:
        """Log where a line is due. The host waits for the device only then."""
        phases = self.phases
        if self._progress.step % phases.log_every == 0:
            self._log_metrics()
            if phases.is_open:
                phases.end("logging")
        self.learning_rate.step()
        if phases.is_open and self._commands.was_suspended:
            phases.drop()  # the process was stopped within the step, or shortly before
        elif phases.is_open:
            phases.close()
        if self._is_first_step:
            self._is_first_step = False
            self.begin_phase("training")

    def _log_metrics(self) -> None:
        samples, progress = self._meter.samples * self._setup.ranks.size, self._progress
        if self._commands.was_suspended:
            # The process was stopped at some time since the last line; nobody knows for how long.
            self._commands.was_suspended = False
            self.start_clock()
            self._data_wait.restart(progress.active_seconds)
            self.phases.drop()
        begin = time.perf_counter()
        loss = self._meter.read()
        read = time.perf_counter()
        self._data_wait.device_waited(read - begin)
        metrics = {"train/loss": loss, "lr": self.learning_rate.current}
        self._clock.add_samples(samples)
        metrics["data_wait"] = self._data_wait.measure(progress.active_seconds)
        self._data_wait.judge(progress.active_seconds)
        if self._step.grad_norm is not None:
            metrics["grad_norm"] = self._step.grad_norm.item()
        if self._clock.samples_per_sec is not None:
            metrics["samples_per_sec"] = self._clock.samples_per_sec
        bad_steps = self._nonfinite.take_steps()
        if progress.skipped:
            metrics["skipped_steps"] = progress.skipped
        self._log(
            MetricsPoint(progress.step, progress.current_epoch, time.time(), progress.active_seconds, metrics)
        )
        self._nonfinite.judge(bad_steps)
        self.state.divergence.check()
        self.phases.add_logging(time.perf_counter() - read)

    def _complete_epoch(self, seconds: float) -> None:
        progress = self._progress
        progress.epoch += 1
        progress.batch = 0
        self.learning_rate.epoch()
        metrics, nonfinite = flag_nonfinite({"train/loss": self._meter.end_epoch()})
        done = EpochCompleted(
            step=progress.step, epoch=progress.epoch, metrics=metrics, nonfinite=nonfinite, seconds=seconds
        )
        self.emit(done)

    def _reach_boundary(self) -> None:
        """Between two steps: evaluate and save where that is due, check the limits, apply commands."""
        self._clock.tick()
        if self._profile.steps_left:
            self._profile.end_step()
            if not self._profile.steps_left:
                self._end_profile()
        if self._schedule.is_due:
            self._evaluate_on_schedule()
        self._end_if_over()
        if not self.ended and not self._command_handler.is_quiet():
            self._nonfinite.check_now()
            self._command_handler.apply_all()
            if not self._leaves_epoch:
                self._continue()
        if self.checkpoints.due and not self.ended:
            self._nonfinite.check_now()
            self.checkpoints.save("last")
        if self.phases.is_open:
            self.phases.drop()  # the step was skipped
        if self._clock.ticked_at >= self.phases.due_at and not self._profile.steps_left:
            self.phases.turn(self._data_wait.share, self._clock.samples_per_sec)

    def _end_profile(self) -> None:
        """Write the profile of the last steps, if they are being profiled; that is not training."""
        with self._aside():
            self._profile.end(self._progress.step)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Leave work that is not training out of what is measured of it."""
        begin = time.perf_counter()
        yield
        seconds = time.perf_counter() - begin
        self._clock.leave_out(seconds)
        self._data_wait.leave_out(seconds)

    def _evaluate_on_schedule(self) -> None:
        """Evaluate, and update early stopping, schedule and checkpoints, unless a stop interrupts it."""
        self._nonfinite.check_now()
        metrics = self.evaluate("schedule")
        if metrics is None:
            return
        stopping, progress = self.state.early_stopping, self._progress
        improved = stopping.update(metrics, progress.step)
        self.state.record_evaluation(metrics)
        if self.learning_rate.evaluated(metrics):
            self._forecast_lr()
        if stopping.stops:
            self.emit(EarlyStoppingUpdated(step=progress.step, early_stopping=stopping.info()))
        if improved:
            self.checkpoints.save("best")

    def _forecast_lr(self) -> None:
        """Have the rest of the schedule computed and reported."""
        progress = self._progress
        done = progress.batch // self._setup.preset.training.grad_accum_steps
        self._forecaster.start(self.learning_rate, progress.step, done)

    def _end_if_over(self) -> None:
        """End the run if a limit is reached, after an evaluation of its last weights."""
        if (reason := self._limits.reached(self._progress)) is None or self.ended:
            return
        self._nonfinite.check_now()
        if not self._schedule.is_done:
            self._evaluate_on_schedule()
        if self._commands.stop_requested and not self._schedule.is_done:
            return
        stopping = self._setup.preset.early_stopping
        if stopping is not None and stopping.restore_best:
            reason += self.checkpoints.restore_best(self.state.take_weights)
        self.end("finished", reason + self._nonfinite.describe_skipped())
