"""Events: what a run says of itself. Every change of a run's state is one of these, in one total order."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from torchconsole.engine.protocol.commands import Command, UnknownCommand
from torchconsole.engine.protocol.info import (
    Best,
    ConfusionMatrix,
    DeviceInfo,
    EarlyStoppingInfo,
    Facts,
    ModelSummary,
    Telemetry,
)
from torchconsole.engine.protocol.points import Points


class _Event(Facts):
    seq: int = 0
    time: float = Field(default_factory=time.time)


PhaseName = Literal[
    "importing torch", "loading data", "downloading data", "downloading weights", "reading targets",
    "measuring mean and std", "decoding samples", "building the model", "dry run", "compiling",
    "first batch", "training", "paused", "evaluating", "saving", "reading metrics",
]  # fmt: skip


class PhaseChanged(_Event):
    """The run began something that may take long, or got further with it.

    `subject` names what is downloaded, decoded and so on. `done` and `total` are counted in `unit` (`bytes`
    and `%` are formatted as such) and are None while unknown. `hint` tells how to avoid the wait. `began` is
    when the phase began, in seconds since the epoch; None means at `time`.
    """

    type: Literal["PhaseChanged"] = "PhaseChanged"
    phase: PhaseName
    subject: str = ""
    done: int | None = None
    total: int | None = None
    unit: str = ""
    hint: str = ""
    began: float | None = None

    def continues(self, other: PhaseChanged | None) -> bool:
        """Whether this reports progress of the phase that `other` has announced."""
        return other is not None and (self.phase, self.subject) == (other.phase, other.subject)


ReportPhase = Callable[[PhaseChanged], None]
"""Receives each slow phase and its progress."""


class DeviceDescribed(_Event):
    """Said once, when the device is chosen."""

    type: Literal["DeviceDescribed"] = "DeviceDescribed"
    device: DeviceInfo


class TelemetryMeasured(_Event):
    """Every second or two while anybody watches. Neither numbered nor kept in files."""

    type: Literal["TelemetryMeasured"] = "TelemetryMeasured"
    telemetry: Telemetry


class ModelSummarized(_Event):
    """Said once, when the model is built."""

    type: Literal["ModelSummarized"] = "ModelSummarized"
    summary: ModelSummary


LogLevel = Literal["debug", "info", "warning", "error"]


class LogWritten(_Event):
    """A line that the worker logged."""

    type: Literal["LogWritten"] = "LogWritten"
    level: LogLevel = "info"
    message: str


class RunStarted(_Event):
    """The loop begins. `step` and `epoch` are those already completed; totals None when unlimited.

    `lr_scale` and `lr_held` are as `RunState` has them: a checkpoint brings them back.
    """

    type: Literal["RunStarted"] = "RunStarted"
    step: int = 0
    epoch: int = 0
    steps_per_epoch: int
    total_epochs: int | None = None
    total_steps: int | None = None
    lr_scale: float = 1.0
    lr_held: float | None = None


class SchedulePlanned(_Event):
    """What the schedule has in store for the first parameter group, before scale and hold.

    Said when the loop begins, and again when a metric has changed the schedule. `scheduled` are the lrs at
    some of the steps that are left, dense enough for a chart. `metric` is what the schedule waits for where a
    part of it goes by one: the lr is taken to stay as it is from there to the part's end.
    """

    type: Literal["SchedulePlanned"] = "SchedulePlanned"
    scheduled: Points
    metric: str | None = None
    base: float = 0.0
    """The lr of the first parameter group before any schedule; 0 if unknown."""


class RunResumed(_Event):
    """The loop goes on from a checkpoint at `step`; what was recorded beyond it no longer counts."""

    type: Literal["RunResumed"] = "RunResumed"
    step: int
    epoch: int
    checkpoint: str
    best: Best | None = None


class MetricsLogged(_Event):
    """Training metrics of the logged steps since the last of these, a series each.

    `active_seconds` is the time spent in the loop, pauses left out, over all sessions of the run. The steps
    are the lines of kind `train` in metrics.jsonl whose numbers go from `first_seq` to `seq`. `gap` says that
    there is more in those lines: this tells only the extremes, because the reader or the wire is slow.
    """

    type: Literal["MetricsLogged"] = "MetricsLogged"
    first_seq: int = 0
    step: int
    epoch: int
    active_seconds: float
    series: dict[str, Points]
    gap: bool = False


class EvaluationCompleted(_Event):
    """An evaluation on the validation data, at the end of an epoch or because a command asked.

    `confusion` is there for a moderate number of classes. metrics.jsonl goes without it.
    """

    type: Literal["EvaluationCompleted"] = "EvaluationCompleted"
    step: int
    epoch: int
    metrics: dict[str, float | None]
    nonfinite: dict[str, Literal["nan", "inf", "-inf"]] = {}
    seconds: float
    reason: Literal["schedule", "command"] = "schedule"
    confusion: ConfusionMatrix | None = None


class EarlyStoppingUpdated(_Event):
    """Early stopping has judged an evaluation."""

    type: Literal["EarlyStoppingUpdated"] = "EarlyStoppingUpdated"
    step: int
    early_stopping: EarlyStoppingInfo


class EpochCompleted(_Event):
    """An epoch is over; its training metrics are sample-weighted means over the epoch."""

    type: Literal["EpochCompleted"] = "EpochCompleted"
    step: int
    epoch: int
    metrics: dict[str, float | None]
    nonfinite: dict[str, Literal["nan", "inf", "-inf"]] = {}
    seconds: float


class CheckpointSaved(_Event):
    """A checkpoint is whole on disk. `name` is its folder's name below checkpoints/."""

    type: Literal["CheckpointSaved"] = "CheckpointSaved"
    step: int
    epoch: int
    name: str
    reason: Literal["best", "last", "command", "stop"]
    best: Best | None = None
    seconds: float = 0.0


class CheckpointFailed(_Event):
    """A checkpoint could not be written; the ones before it stand, and the run goes on."""

    type: Literal["CheckpointFailed"] = "CheckpointFailed"
    step: int
    reason: str


class PauseRequested(_Event):
    """A pause was accepted and waits for the step's end."""

    type: Literal["PauseRequested"] = "PauseRequested"


class RunPaused(_Event):
    """The loop waits after `step`."""

    type: Literal["RunPaused"] = "RunPaused"
    step: int


class RunUnpaused(_Event):
    """The pause is over."""

    type: Literal["RunUnpaused"] = "RunUnpaused"
    step: int


class StopRequested(_Event):
    """A stop was accepted: by a command, a signal or early stopping."""

    type: Literal["StopRequested"] = "StopRequested"
    reason: str


class RunFinished(_Event):
    """The loop ended as it should: `finished` by its own limits, `stopped` because somebody asked.

    `step` and `epoch` are those completed; None when the run was stopped before its loop began.
    """

    type: Literal["RunFinished"] = "RunFinished"
    status: Literal["finished", "stopped"]
    reason: str
    step: int | None = None
    epoch: int | None = None


class RunFailed(_Event):
    """The run ended with an error; `reason` is one line, worker.log holds the traceback.

    `user_error` tells a mistake in the preset or the data (no traceback needed) from a fault.
    """

    type: Literal["RunFailed"] = "RunFailed"
    reason: str
    user_error: bool = False


class RunLost(_Event):
    """Made by the client alone, never sent by a worker: the worker exited unexpectedly."""

    type: Literal["RunLost"] = "RunLost"
    reason: str


class CommandAccepted(_Event):
    """To the sender alone: the command is valid and waits for the step's end."""

    type: Literal["CommandAccepted"] = "CommandAccepted"
    id: str


class CommandApplied(_Event):
    """The command took effect after `step` and acts from the next one on. A change where it changed
    the run. `detail` says what became of it, for people; `result` the same for programs."""

    type: Literal["CommandApplied"] = "CommandApplied"
    id: str
    command: Annotated[Command | UnknownCommand, Field(union_mode="left_to_right")]
    step: int
    by: str = ""
    detail: str = ""
    result: dict[str, Any] = {}


class CommandRejected(_Event):
    """The command had no effect, and why."""

    type: Literal["CommandRejected"] = "CommandRejected"
    id: str
    reason: str


Event = Annotated[
    PhaseChanged
    | DeviceDescribed
    | TelemetryMeasured
    | ModelSummarized
    | LogWritten
    | RunStarted
    | SchedulePlanned
    | RunResumed
    | MetricsLogged
    | EvaluationCompleted
    | EarlyStoppingUpdated
    | EpochCompleted
    | CheckpointSaved
    | CheckpointFailed
    | PauseRequested
    | RunPaused
    | RunUnpaused
    | StopRequested
    | RunFinished
    | RunFailed
    | RunLost
    | CommandAccepted
    | CommandApplied
    | CommandRejected,
    Field(discriminator="type"),
]
