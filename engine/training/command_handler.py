"""Applies commands to the training, in the training thread, between two steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatchmethod
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol.events import (
    CommandApplied,
    CommandRejected,
    Event,
    PhaseName,
    RunPaused,
    RunUnpaused,
    StopRequested,
)
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.engine.text import counted
from torchconsole.engine.training.checkpoint_writer import Reason
from torchconsole.engine.training.command_queue import ByClock, Channel, CommandQueue, Instruction, Request
from torchconsole.engine.training.progress import Progress


class Counted(Protocol):
    """A state that counts its steps and changes."""

    @property
    def progress(self) -> Progress: ...


class Saves(Protocol):
    """What takes checkpoints."""

    def save(self, reason: Reason, request: Request | None = None) -> None: ...


class Rate(Protocol):
    """A learning rate that commands change."""

    scale: float

    @property
    def current(self) -> float: ...
    @property
    def held(self) -> float | None: ...
    def apply(self, command: LearningRateCommand) -> None: ...


class Loop(Protocol):
    """What commands need from the loop."""

    @property
    def state(self) -> Counted: ...
    @property
    def checkpoints(self) -> Saves: ...
    @property
    def learning_rate(self) -> Rate: ...
    @property
    def ended(self) -> bool: ...
    def count_left_out(self) -> int: ...
    def emit(self, event: Event) -> None: ...
    def begin_phase(self, phase: PhaseName) -> None: ...
    def evaluate(self, reason: Literal["schedule", "command"]) -> Metrics | None: ...
    def measure_layers(self, every: int) -> None: ...
    def freeze_layer(self, layer: str, *, is_frozen: bool) -> str: ...
    def change_setting(self, setting: str) -> Outcome: ...
    def summarize(self) -> Event | None: ...
    def roll_back(self, checkpoint: str | None) -> Outcome: ...
    def end(self, status: Literal["finished", "stopped"], reason: str) -> None: ...
    def stop_clock(self) -> None: ...
    def start_clock(self) -> None: ...


class Outcome(NamedTuple):
    """The result of a command: a text for people, values for programs, and an event that follows."""

    detail: str
    result: dict[str, Any] = {}
    then: Event | None = None


class CommandHandler:
    """Applies the queued commands in order; while the run is paused it waits for the next one.

    `profile` begins to profile steps, and answers the command later; None if the loop cannot. The commands
    come through the `channel`, by default from the queue, and what the clock asks of several processes goes
    to `obey_clock`.
    """

    def __init__(
        self,
        loop: Loop,
        commands: CommandQueue,
        profile: Callable[[Request], None] | None = None,
        channel: Channel | None = None,
        obey_clock: Callable[[ByClock], None] = lambda command: None,
    ) -> None:
        self._channel: Channel = channel or commands
        self.is_quiet = self._channel.is_quiet
        self._loop = loop
        self._commands = commands
        self._paused = False
        self._last_step: int | None = None
        self._left_out = 0
        self._profile = profile
        self._obey_clock = obey_clock

    def apply_all(self) -> None:
        """Apply what there is at this boundary, and wait until a pause is over.

        A run waits nowhere else. Changes are saved at once: they must survive a kill, as the journal does.
        """
        progress = self._loop.state.progress
        saved = progress.revision
        if self._is_pause_due:
            self._loop.emit(self._pause())
        while not self._loop.ended and (self._paused or self._channel.has_more()):
            self._apply(self._channel.get())
            if not self._channel.has_more() and progress.revision != saved:
                self._loop.checkpoints.save("last")
                saved = progress.revision

    def _count_steps(self) -> int:
        """Count the steps that had an effect; the host waits for the device here.

        Boundaries are not counted: an epoch also ends with one, and so does a step that the scaler skips.
        """
        self._left_out = self._loop.count_left_out()
        return self._loop.state.progress.step - self._left_out

    @property
    def _is_pause_due(self) -> bool:
        last = self._last_step
        # Steps may have been left out since the last look: only where the pause seems due is that read.
        if last is None or self._loop.state.progress.step - self._left_out < last:
            return False
        return self._count_steps() >= last

    def _is_quiet_before_pause(self) -> bool:
        """See `Channel.is_quiet`, while there are steps until a pause, in each process as many."""
        if not self._is_pause_due:
            return self._channel.is_quiet()
        self._channel.begin_here()
        return False

    def reject_rest(self, reason: str) -> None:
        """Reject the commands that came too late."""
        while not self._commands.empty():
            request = self._commands.get()
            if not isinstance(request.command, ByClock):
                self._loop.emit(CommandRejected(id=request.id, reason=reason))

    def _apply(self, request: Request) -> None:
        try:
            outcome = self._execute(request.command, request)
        except CommandRejectedError as error:
            self._loop.emit(CommandRejected(id=request.id, reason=str(error)))
            return
        if outcome is None or isinstance(request.command, ByClock):
            return
        self._loop.emit(
            CommandApplied(
                id=request.id,
                command=request.command,
                step=self._loop.state.progress.step,
                by=request.by,
                detail=outcome.detail,
                result=outcome.result,
            )
        )
        if outcome.then is not None:
            self._loop.emit(outcome.then)

    @singledispatchmethod
    def _execute(self, command: Instruction, request: Request) -> Outcome | None:
        """Execute a command; None if the reply comes later from elsewhere."""
        raise CommandRejectedError(f"unknown command {command.type}")

    @_execute.register
    def _(self, command: ByClock, request: Request) -> None:
        self._obey_clock(command)

    @_execute.register
    def _(self, command: cmd.PauseRun, request: Request) -> Outcome:
        if self._paused:
            raise CommandRejectedError("the run is already paused")
        return Outcome("paused", then=self._pause())

    @_execute.register
    def _(self, command: cmd.UnpauseRun, request: Request) -> Outcome:
        if not self._paused:
            raise CommandRejectedError("the run is not paused")
        return Outcome("unpaused", then=self._unpause())

    @_execute.register
    def _(self, command: cmd.TrainSteps, request: Request) -> Outcome:
        self._last_step = self._count_steps() + command.steps
        self.is_quiet = self._is_quiet_before_pause
        detail = f"{counted(command.steps, 'step')}, then a pause"
        return Outcome(detail, then=self._unpause() if self._paused else None)

    @_execute.register
    def _(
        self,
        command: cmd.SetLearningRate | cmd.HoldLearningRate | cmd.ReleaseLearningRate,
        request: Request,
    ) -> Outcome:
        rate = self._loop.learning_rate
        before = rate.current
        rate.apply(command)
        # A checkpoint of this step differs from one taken before the change.
        self._loop.state.progress.revision += 1
        change = f"{before:.4g} -> {rate.current:.4g}" if rate.current != before else f"{before:.4g}"
        suffix = ", released" if isinstance(command, cmd.ReleaseLearningRate) else ""
        suffix = ", held" if rate.held is not None else suffix
        return Outcome(
            f"lr {change}{suffix}",
            {"before": before, "lr": rate.current, "scale": rate.scale, "held": rate.held},
        )

    @_execute.register
    def _(self, command: cmd.SaveCheckpoint, request: Request) -> None:
        self._loop.checkpoints.save("command", request=request)

    @_execute.register
    def _(self, command: cmd.RunEvaluation, request: Request) -> Outcome:
        metrics = self._loop.evaluate("command")
        if metrics is None:
            raise CommandRejectedError("a stop was requested")
        shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if value is not None)
        return Outcome(shown or "no metric is finite", dict(metrics))

    @_execute.register
    def _(self, command: cmd.ProfileSteps, request: Request) -> None:
        if self._profile is None:
            raise CommandRejectedError("only the training of a preset can be profiled; use torch.profiler")
        if self._paused:
            raise CommandRejectedError("the run is paused; unpause it first")
        self._profile(request)

    @_execute.register
    def _(self, command: cmd.MeasureLayers, request: Request) -> Outcome:
        self._loop.measure_layers(command.every)
        return Outcome(
            f"layers measured {command.how_often}" if command.every else "layers not measured any more"
        )

    @_execute.register
    def _(self, command: cmd.FreezeLayer | cmd.UnfreezeLayer, request: Request) -> Outcome:
        is_frozen = isinstance(command, cmd.FreezeLayer)
        effect = self._loop.freeze_layer(command.layer, is_frozen=is_frozen)
        self._loop.state.progress.revision += 1
        return Outcome(effect, then=self._loop.summarize())

    @_execute.register
    def _(self, command: cmd.RollBack, request: Request) -> Outcome:
        before = self._count_steps()
        outcome = self._loop.roll_back(command.checkpoint)
        if self._last_step is not None:  # as many steps are left until the pause as before
            self._last_step += self._count_steps() - before
        self._loop.begin_phase("paused" if self._paused else "training")
        return outcome

    @_execute.register
    def _(self, command: cmd.ChangeSetting, request: Request) -> Outcome:
        outcome = self._loop.change_setting(command.setting)
        self._loop.state.progress.revision += 1
        return outcome

    @_execute.register
    def _(self, command: cmd.StopRun, request: Request) -> Outcome:
        self._loop.emit(StopRequested(reason=command.reason))
        self._loop.end("stopped", command.reason)
        return Outcome("stopping")

    def _pause(self) -> Event:
        self._paused = True
        self._last_step, self.is_quiet = None, self._channel.is_quiet
        self._loop.stop_clock()
        self._loop.begin_phase("paused")
        return RunPaused(step=self._loop.state.progress.step)

    def _unpause(self) -> Event:
        self._paused = False
        self._loop.start_clock()
        self._loop.begin_phase("training")
        return RunUnpaused(step=self._loop.state.progress.step)


def answer_saves(emit: Callable[[Event], None]) -> Callable[[Request, int, Path | str], None]:
    """Make the callback by which the checkpoint writer reports how a save by command ended."""

    def answer(request: Request, step: int, result: Path | str) -> None:
        if isinstance(result, str):
            emit(CommandRejected(id=request.id, reason=result))
            return
        emit(
            CommandApplied(
                id=request.id,
                command=request.command,
                step=step,
                by=request.by,
                detail=f"saved {result.name}",
                result={"checkpoint": str(result)},
            )
        )

    return answer
