"""Events of a run. Every change of a run's state is one of these, in one total order."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, field_validator

from torchconsole.engine.protocol.commands import Command, UnknownCommand
from torchconsole.engine.protocol.info import (
    Best,
    ConfusionMatrix,
    Count,
    DeviceInfo,
    EarlyStoppingInfo,
    Facts,
    LayerStatistics,
    Metrics,
    ModelSummary,
    RegressionSample,
    Seconds,
    Step,
    Telemetry,
    Timestamp,
    WorstSample,
)
from torchconsole.engine.protocol.points import NonFinite, Points
from torchconsole.engine.protocol.rank_loads import RankLoad


class _Event(Facts):
    seq: Step = 0
    time: Timestamp = Field(default_factory=time.time)


PhaseName = Literal[
    "importing torch", "starting the program",
    "loading data", "reading samples", "downloading data", "downloading weights", "reading targets",
    "measuring mean and std", "decoding samples", "building the model", "dry run", "compiling",
    "comparing samples", "trying batch sizes", "trying data loader workers",
    "waiting for other processes", "first batch", "training", "paused", "evaluating", "saving",
    "reading metrics",
]  # fmt: skip
LogLevel = Literal["output", "debug", "info", "warning", "error"]
"""`output` is what the training prints: user code, libraries and data loader workers."""


class PhaseChanged(_Event):
    """The run began a phase that may take long, or made progress with it.

    `subject` names what is downloaded, decoded and so on. `done` and `total` count `unit`s (`bytes` and `%`
    are formatted as such); None if unknown. `hint` says how to avoid the wait. `began` is the beginning of
    the phase in seconds since the epoch; None means `time`.
    """

    type: Literal["PhaseChanged"] = "PhaseChanged"
    phase: PhaseName
    subject: str = ""
    done: Count | None = None
    total: Count | None = None
    unit: str = ""
    hint: str = ""
    began: Timestamp | None = None

    def continues(self, other: PhaseChanged | None) -> bool:
        """Whether this reports progress of the phase that `other` announced."""
        return other is not None and (self.phase, self.subject) == (other.phase, other.subject)


ReportPhase = Callable[[PhaseChanged], None]
"""Receives each slow phase and its progress."""


class DeviceDescribed(_Event):
    """The device was chosen."""

    type: Literal["DeviceDescribed"] = "DeviceDescribed"
    device: DeviceInfo


class TelemetryMeasured(_Event):
    """Sent every two seconds while a client is connected. Neither numbered nor written to files."""

    type: Literal["TelemetryMeasured"] = "TelemetryMeasured"
    telemetry: Telemetry


class RanksMeasured(_Event):
    """What each of several processes does, in the order of their ranks. Sent every two seconds.

    Neither numbered nor written to files, but run.json keeps the last one. Processes that have not been heard
    from yet are missing.
    """

    type: Literal["RanksMeasured"] = "RanksMeasured"
    ranks: list[RankLoad]


class ModelSummarized(_Event):
    """The model was built."""

    type: Literal["ModelSummarized"] = "ModelSummarized"
    summary: ModelSummary


class LogWritten(_Event):
    """The worker logged a message, or the training printed a line, which is read back from worker.log."""

    type: Literal["LogWritten"] = "LogWritten"
    level: LogLevel = "info"
    message: str


class RunStarted(_Event):
    """The training loop began. `step` and `epoch` are those already completed; totals are None if unlimited.

    `lr_scale` and `lr_held` are those of `RunState`, which a checkpoint restores. `loss_unit` says what the
    losses are computed on if not on the targets as they are. `batch_size` is that of a step: the samples of
    all `processes`, with gradient accumulation; None if unknown.
    """

    type: Literal["RunStarted"] = "RunStarted"
    step: Step = 0
    epoch: Step = 0
    steps_per_epoch: Step | None = None
    total_epochs: Step | None = None
    total_steps: Step | None = None
    lr_scale: float = 1.0
    lr_held: float | None = None
    loss_unit: str = ""
    processes: Count = 1
    batch_size: Count | None = None


class LengthEstimated(_Event):
    """How long the training of a program of the user's own will probably be; None if unknown."""

    type: Literal["LengthEstimated"] = "LengthEstimated"
    steps_per_epoch: Step
    total_epochs: Step | None = None


class SchedulePlanned(_Event):
    """The rest of the schedule for the first parameter group, before scale and hold.

    Emitted when the loop begins, and again after a metric has changed the schedule. `scheduled` has the lr at
    some of the remaining steps, dense enough for a chart. `metric` is the one that a part of the schedule
    depends on, if any; the lr is assumed to be constant during that part. `base` is the lr before any
    schedule; 0 if unknown.
    """

    type: Literal["SchedulePlanned"] = "SchedulePlanned"
    scheduled: Points
    metric: str | None = None
    base: float = 0.0


class RunResumed(_Event):
    """The run continues from a checkpoint at `step`; what was recorded after that step is void.

    A live run that was rolled back was at the step `rolled_back_from` before; None in a resumed worker.
    """

    type: Literal["RunResumed"] = "RunResumed"
    step: Step
    epoch: Step
    checkpoint: str
    best: Best | None = None
    active_seconds: Seconds | None = None
    rolled_back_from: Step | None = None


class MetricsLogged(_Event):
    """Training metrics of the steps logged since the last such event, one series per metric.

    `active_seconds` is the time spent in the loop without pauses, over all sessions of the run. The steps are
    the lines of kind `train` in metrics.jsonl with numbers from `first_seq` to `seq`. With `gap`, the series
    have only the extremes of those lines, because the client reads slowly.
    """

    type: Literal["MetricsLogged"] = "MetricsLogged"
    first_seq: Step = 0
    step: Step
    epoch: Step
    active_seconds: Seconds
    series: dict[str, Points]
    gap: bool = False


class EvaluationCompleted(_Event):
    """An evaluation on the validation data, scheduled or by command.

    `confusion` is present for a moderate number of classes, `regression` for targets that are numbers;
    otherwise `no_tables` says why not. `worst` has the samples with the highest losses, the highest first, as
    many as `evaluation.worst` says; none for a loss of user code. metrics.jsonl does not contain them.
    """

    type: Literal["EvaluationCompleted"] = "EvaluationCompleted"
    step: Step
    epoch: Step
    metrics: Metrics
    nonfinite: dict[str, NonFinite] = {}
    seconds: Seconds
    reason: Literal["schedule", "command"] = "schedule"
    confusion: ConfusionMatrix | None = None
    regression: RegressionSample | None = None
    no_tables: str = ""
    worst: list[WorstSample] = []

    @property
    def has_tables(self) -> bool:
        """Whether there is something to show besides the metrics, or a reason why not."""
        return bool(self.confusion or self.regression or self.no_tables or self.worst)


class LayersMeasured(_Event):
    """The layers were measured in `step`, as `MeasureLayers` asked for. Not written to files.

    With `eager`, outputs and gradients are those of a second, uncompiled pass over the step's first batch.
    """

    type: Literal["LayersMeasured"] = "LayersMeasured"
    step: Step
    every: Count
    eager: bool = False
    layers: list[LayerStatistics]


class EarlyStoppingUpdated(_Event):
    """Early stopping has processed an evaluation."""

    type: Literal["EarlyStoppingUpdated"] = "EarlyStoppingUpdated"
    step: Step
    early_stopping: EarlyStoppingInfo


class EpochCompleted(_Event):
    """An epoch ended; `metrics` are training metrics, as sample-weighted means over the epoch."""

    type: Literal["EpochCompleted"] = "EpochCompleted"
    step: Step
    epoch: Step
    metrics: Metrics
    nonfinite: dict[str, NonFinite] = {}
    seconds: Seconds


class CheckpointSaved(_Event):
    """A checkpoint is complete on disk. `name` is the name of its folder in checkpoints/."""

    type: Literal["CheckpointSaved"] = "CheckpointSaved"
    step: Step
    epoch: Step
    name: str
    reason: Literal["best", "last", "command", "stop"]
    best: Best | None = None
    seconds: Seconds = 0.0


class CheckpointFailed(_Event):
    """A checkpoint could not be written; earlier ones are intact, and the run continues."""

    type: Literal["CheckpointFailed"] = "CheckpointFailed"
    step: Step
    reason: str


class PauseRequested(_Event):
    """A pause was accepted and waits for the end of the step."""

    type: Literal["PauseRequested"] = "PauseRequested"


class RunPaused(_Event):
    """The run is paused after `step`."""

    type: Literal["RunPaused"] = "RunPaused"
    step: Step


class RunUnpaused(_Event):
    """The pause has ended."""

    type: Literal["RunUnpaused"] = "RunUnpaused"
    step: Step


class StopRequested(_Event):
    """A stop was accepted: by a command, a signal or early stopping."""

    type: Literal["StopRequested"] = "StopRequested"
    reason: str


class RunFinished(_Event):
    """The run ended without an error: `finished` at its own limits, or `stopped` on request.

    `step` and `epoch` are those completed; None if the run was stopped before training began. `problem` says
    which files could not be written at the end, why, and what to do; empty if all were.
    """

    type: Literal["RunFinished"] = "RunFinished"
    status: Literal["finished", "stopped"]
    reason: str
    problem: str = ""
    step: Step | None = None
    epoch: Step | None = None


class RunFailed(_Event):
    """The run ended with an error; `reason` is one line, worker.log has the traceback.

    `user_error`: the cause is in the preset or the data, so that no traceback is needed.
    `can_start_anyway`: findings refused the start, and the user may ask to start in spite of them.
    """

    type: Literal["RunFailed"] = "RunFailed"
    reason: str
    user_error: bool = False
    can_start_anyway: bool = False


class RunLost(_Event):
    """The worker exited unexpectedly. Created by the client, never sent by a worker."""

    type: Literal["RunLost"] = "RunLost"
    reason: str


class FolderMoved(_Event):
    """The run's folder was renamed; `name` is the run's name from now on, and `folder` its folder."""

    type: Literal["FolderMoved"] = "FolderMoved"
    name: str
    folder: str


class CommandAccepted(_Event):
    """The command is valid and waits for the end of the step. Sent to its sender only."""

    type: Literal["CommandAccepted"] = "CommandAccepted"
    id: str


class _LrResult(Facts):
    """What the state takes over from the result of a command about the lr."""

    lr: FiniteFloat = 0.0
    scale: FiniteFloat = 1.0
    held: FiniteFloat | None = None


class CommandApplied(_Event):
    """The command was applied after `step`. `detail` is its effect for people, `result` for programs."""

    type: Literal["CommandApplied"] = "CommandApplied"
    id: str
    command: Annotated[Command | UnknownCommand, Field(union_mode="left_to_right")]
    step: Step
    by: str = ""
    detail: str = ""
    result: dict[str, Any] = {}

    @field_validator("result")
    @classmethod
    def _check_lr(cls, result: dict[str, Any]) -> dict[str, Any]:
        _LrResult.model_validate(result)
        return result


class CommandRejected(_Event):
    """The command had no effect; `reason` says why."""

    type: Literal["CommandRejected"] = "CommandRejected"
    id: str
    reason: str


class ClientsChanged(_Event):
    """Other clients came or went. `others` are their users, as `user@terminal`. Sent, but not stored."""

    type: Literal["ClientsChanged"] = "ClientsChanged"
    others: list[str] = []


Event = Annotated[
    PhaseChanged | DeviceDescribed | TelemetryMeasured | RanksMeasured | ModelSummarized | LogWritten
    | RunStarted
    | LengthEstimated | SchedulePlanned | RunResumed | MetricsLogged | EvaluationCompleted
    | EarlyStoppingUpdated | LayersMeasured
    | EpochCompleted | CheckpointSaved | CheckpointFailed | PauseRequested | RunPaused | RunUnpaused
    | StopRequested | RunFinished | RunFailed | RunLost | FolderMoved
    | CommandAccepted | CommandApplied | CommandRejected | ClientsChanged,
    Field(discriminator="type"),
]  # fmt: skip
