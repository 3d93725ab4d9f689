"""The state of a run, and how each event changes it. Worker, files and console share this one function."""

from __future__ import annotations

from enum import Flag, auto
from functools import cache, singledispatch
from typing import Annotated, Any

from pydantic import BaseModel

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import ChangeSetting, MeasureLayers
from torchconsole.engine.protocol.info import (
    Best,
    Count,
    DeviceInfo,
    EarlyStoppingInfo,
    LayerStatistics,
    Mark,
    Metrics,
    ModelSummary,
    Seconds,
    Step,
    Telemetry,
    Timestamp,
)
from torchconsole.engine.protocol.points import NonFinite, Points, flag_nonfinite
from torchconsole.engine.protocol.series import Series, is_replaced
from torchconsole.engine.protocol.setting_changes import change_setting
from torchconsole.engine.protocol.status import LIVE_STATUSES, RunStatus

LOG_LINES = 500

OUTPUT_LINES = 200
"""Most lines of output in the log, so that a program that prints much does not push out the warnings."""

CHANGES = 200
MARKS = 200

MEASUREMENTS = 12
"""Measurements of the layers whose gradient norms are kept."""

MOST_MINUTES = 1e9
"""A limit beyond this is none."""


class Storage(Flag):
    """Where a field of RunState is stored outside the worker's memory. Declared together with the field."""

    IDENTITY = auto()
    """run.json, written from the process and the folder rather than from the state."""
    RECORD = auto()
    """run.json, as a field of RunRecord, which listings read."""
    DETAILS = auto()
    """run.json, among the details that only a viewer of this run needs."""
    CACHE = auto()
    """history.json, the fold of the lines in the run's files."""
    OWN_FILE = auto()
    """A file of its own: preset.toml, journal.jsonl, confusion.json or worker.log."""
    RESUMED = auto()
    """A resumed worker continues with the value in the files, unless it sets another one."""
    LIVE = auto()
    """Not stored: it describes the present moment."""


_RESUMED_RECORD = Storage.RECORD | Storage.RESUMED
_RESUMED_DETAILS = Storage.DETAILS | Storage.RESUMED


LOSS = "train/loss"


class RunState(BaseModel):
    """Everything known about a run except its history. Changed by `apply` only.

    The lr in force is the scheduled lr times `lr_scale`, or `lr_held` while it is held.
    """

    name: Annotated[str, Storage.IDENTITY]
    folder: Annotated[str, Storage.IDENTITY]
    preset: Annotated[str, _RESUMED_RECORD] = ""
    title: Annotated[str, _RESUMED_RECORD] = ""
    config: Annotated[dict[str, Any], Storage.OWN_FILE | Storage.RESUMED] = {}
    status: Annotated[RunStatus, Storage.RECORD] = "starting"
    phase: Annotated[ev.PhaseChanged | None, Storage.LIVE] = None
    reason: Annotated[str, Storage.RECORD] = ""
    problem: Annotated[str, Storage.RECORD] = ""
    pid: Annotated[Count | None, Storage.IDENTITY] = None
    host: Annotated[str, Storage.IDENTITY] = ""
    created: Annotated[Timestamp, _RESUMED_RECORD] = 0.0
    ended: Annotated[Timestamp | None, Storage.DETAILS] = None
    seq: Annotated[Step, _RESUMED_RECORD | Storage.CACHE] = 0
    step: Annotated[Step, _RESUMED_RECORD | Storage.CACHE] = 0
    epoch: Annotated[Step, _RESUMED_RECORD | Storage.CACHE] = 0
    steps_per_epoch: Annotated[Step | None, _RESUMED_DETAILS] = None
    total_epochs: Annotated[Step | None, _RESUMED_RECORD] = None
    total_steps: Annotated[Step | None, _RESUMED_RECORD] = None
    active_seconds: Annotated[Seconds, _RESUMED_DETAILS | Storage.CACHE] = 0.0
    metrics: Annotated[Metrics, _RESUMED_DETAILS | Storage.CACHE] = {}
    lr_scale: Annotated[float, _RESUMED_DETAILS | Storage.CACHE] = 1.0
    lr_held: Annotated[float | None, _RESUMED_DETAILS | Storage.CACHE] = None
    loss_unit: Annotated[str, _RESUMED_DETAILS] = ""
    processes: Annotated[Count, _RESUMED_DETAILS] = 1
    batch_size: Annotated[Count | None, _RESUMED_DETAILS] = None
    schedule: Annotated[ev.SchedulePlanned | None, Storage.LIVE] = None
    best: Annotated[Best | None, _RESUMED_RECORD] = None
    early_stopping: Annotated[EarlyStoppingInfo | None, _RESUMED_DETAILS] = None
    device: Annotated[DeviceInfo | None, Storage.DETAILS] = None
    telemetry: Annotated[Telemetry | None, Storage.LIVE] = None
    ranks: Annotated[ev.RanksMeasured | None, Storage.DETAILS] = None
    summary: Annotated[ModelSummary | None, Storage.DETAILS] = None
    layers_measured: Annotated[ev.LayersMeasured | None, Storage.LIVE] = None
    gradient_norms: Annotated[dict[str, list[float | NonFinite | None]], Storage.LIVE] = {}
    """The last norms of each layer; None where it had no gradient, as while it is frozen."""
    last_checkpoint: Annotated[ev.CheckpointSaved | None, _RESUMED_DETAILS] = None
    last_confusion: Annotated[ev.EvaluationCompleted | None, Storage.OWN_FILE | Storage.RESUMED] = None
    marks: Annotated[list[Mark], _RESUMED_DETAILS | Storage.CACHE] = []
    checkpoint_failure: Annotated[str, Storage.DETAILS] = ""
    changes: Annotated[list[ev.CommandApplied], Storage.OWN_FILE | Storage.CACHE | Storage.RESUMED] = []
    log: Annotated[list[ev.LogWritten], Storage.OWN_FILE] = []

    @property
    def is_live(self) -> bool:
        """Whether the run has a worker, or should have one."""
        return self.status in LIVE_STATUSES

    @property
    def lr(self) -> float | None:
        """The lr of the first parameter group at the last logged step."""
        return self.metrics.get("lr")

    @property
    def losses(self) -> dict[str, float | None]:
        """The latest training loss, or those of a program's optimizers by their names."""
        if LOSS in self.metrics:
            return {LOSS: self.metrics[LOSS]}
        return {name: value for name, value in self.metrics.items() if name.startswith(f"{LOSS}_")}

    @property
    def eta_seconds(self) -> float | None:
        """Time left at the mean speed so far, including evaluations and saves; None if unknown."""
        if not self.total_steps or not self.step or not self.active_seconds:
            return None
        left = (self.total_steps - self.step) * self.active_seconds / self.step
        minutes = self._max_minutes
        return max(0.0, left if minutes is None else min(left, 60 * minutes - self.active_seconds))

    @property
    def _max_minutes(self) -> float | None:
        """The preset's limit; None without one. A preset that was read from a file may hold anything."""
        section = self.config.get("training")
        minutes = section.get("max_minutes") if isinstance(section, dict) else None
        if not isinstance(minutes, int | float) or isinstance(minutes, bool):
            return None
        return float(minutes) if 0 < minutes < MOST_MINUTES else None


@cache
def fields_stored_in(where: Storage) -> tuple[str, ...]:
    """Return the names of the fields that are stored in any of these places, in order of declaration."""
    return tuple(name for name, kept in storage_of_fields().items() if kept & where)


def storage_of_fields() -> dict[str, Storage]:
    """Return where each field is stored. Raises StopIteration for a field that declares nothing."""
    return {
        name: next(entry for entry in field.metadata if isinstance(entry, Storage))
        for name, field in RunState.model_fields.items()
    }


History = dict[str, Series]
"""Metric name -> its series."""


def apply(state: RunState, history: History, event: ev.Event) -> None:
    """Apply an event to `state` and `history`. Nothing else changes them."""
    state.seq = max(state.seq, event.seq)
    _apply(event, state, history)


def extend_history(history: History, series: dict[str, Points]) -> None:
    """Append points to their series."""
    for name, points in series.items():
        _series(history, name).extend(points)


def _series(history: History, name: str) -> Series:
    if name not in history:
        history[name] = Series()
    return history[name]


def _add_mark(state: RunState, mark: Mark) -> None:
    if mark not in state.marks[-2:]:
        state.marks = [*state.marks[-MARKS + 1 :], mark]


@singledispatch
def _apply(event: object, state: RunState, history: History) -> None:
    """Do nothing for an event without an effect on the state, such as an acknowledgement."""


@_apply.register
def _(event: ev.PhaseChanged, state: RunState, history: History) -> None:
    state.phase = event


@_apply.register
def _(event: ev.DeviceDescribed, state: RunState, history: History) -> None:
    state.device = event.device


@_apply.register
def _(event: ev.TelemetryMeasured | ev.RanksMeasured, state: RunState, history: History) -> None:
    if isinstance(event, ev.RanksMeasured):
        state.ranks = event
    else:
        state.telemetry = event.telemetry


@_apply.register
def _(event: ev.ModelSummarized, state: RunState, history: History) -> None:
    state.summary = event.summary


@_apply.register
def _(event: ev.LogWritten, state: RunState, history: History) -> None:
    log = state.log
    if event.level == "output" and sum(entry.level == "output" for entry in log) >= OUTPUT_LINES:
        oldest = next(number for number, entry in enumerate(log) if entry.level == "output")
        log = log[:oldest] + log[oldest + 1 :]
    state.log = [*log[-LOG_LINES + 1 :], event]


@_apply.register
def _(event: ev.RunStarted, state: RunState, history: History) -> None:
    state.status = "running"
    state.reason = state.problem = ""
    state.ended = None
    state.step = event.step
    state.epoch = event.epoch
    state.steps_per_epoch = event.steps_per_epoch
    state.total_epochs = event.total_epochs
    state.total_steps = event.total_steps
    state.lr_scale = event.lr_scale
    state.lr_held = event.lr_held
    state.loss_unit = event.loss_unit
    state.processes = event.processes
    state.batch_size = event.batch_size


@_apply.register
def _(event: ev.LengthEstimated, state: RunState, history: History) -> None:
    state.steps_per_epoch = event.steps_per_epoch
    state.total_epochs = event.total_epochs
    state.total_steps = event.total_epochs and event.total_epochs * event.steps_per_epoch


@_apply.register
def _(event: ev.SchedulePlanned, state: RunState, history: History) -> None:
    state.schedule = event


@_apply.register
def _(event: ev.RunResumed, state: RunState, history: History) -> None:
    state.step = event.step
    state.epoch = event.epoch
    state.best = event.best
    state.active_seconds = state.active_seconds if event.active_seconds is None else event.active_seconds
    state.changes = [applied for applied in state.changes if applied.step <= event.step]
    state.marks = [mark for mark in state.marks if mark.step <= event.step]
    state.layers_measured, state.gradient_norms = None, {}
    _add_mark(state, Mark(kind="resumed", step=event.step, rolled_back=event.rolled_back_from is not None))
    if state.last_confusion is not None and state.last_confusion.step > event.step:
        state.last_confusion = None
    for series in history.values():
        series.drop_after(event.step)
    last = {name: float(series.values[-1]) for name, series in history.items() if len(series)}
    state.metrics, _ = flag_nonfinite(last)


@_apply.register
def _(event: ev.MetricsLogged, state: RunState, history: History) -> None:
    state.step = event.step
    state.epoch = event.epoch
    state.active_seconds = event.active_seconds
    latest = {name: points.values[-1] for name, points in event.series.items() if points.values}
    state.metrics = {**state.metrics, **latest}
    extend_history(history, event.series)
    if is_replaced(history, LOSS):
        state.metrics.pop(LOSS, None)


@_apply.register
def _(event: ev.EvaluationCompleted, state: RunState, history: History) -> None:
    state.metrics = {**state.metrics, **event.metrics}
    if event.has_tables:
        state.last_confusion = event
    for name, value in event.metrics.items():
        plain = float(event.nonfinite.get(name, "nan")) if value is None else value
        _series(history, name).add(event.step, plain)


@_apply.register
def _(event: ev.LayersMeasured, state: RunState, history: History) -> None:
    state.layers_measured = event
    state.gradient_norms = {
        layer.name: [*state.gradient_norms.get(layer.name, [])[-MEASUREMENTS + 1 :], _gradient_norm(layer)]
        for layer in event.layers
    }


def _gradient_norm(layer: LayerStatistics) -> float | NonFinite | None:
    return layer.nonfinite.get("grad_norm") if layer.grad_norm is None else layer.grad_norm


@_apply.register
def _(event: ev.EarlyStoppingUpdated, state: RunState, history: History) -> None:
    state.early_stopping = event.early_stopping


@_apply.register
def _(event: ev.EpochCompleted, state: RunState, history: History) -> None:
    state.step = event.step
    state.epoch = event.epoch


@_apply.register
def _(event: ev.CheckpointSaved, state: RunState, history: History) -> None:
    state.last_checkpoint = event
    _add_mark(state, Mark(kind="saved", step=event.step))
    state.checkpoint_failure = ""
    state.best = event.best or state.best


@_apply.register
def _(event: ev.CheckpointFailed, state: RunState, history: History) -> None:
    state.checkpoint_failure = event.reason


@_apply.register
def _(event: ev.PauseRequested, state: RunState, history: History) -> None:
    state.status = "pausing"


@_apply.register
def _(event: ev.RunPaused, state: RunState, history: History) -> None:
    state.status = "paused"
    state.step = event.step


@_apply.register
def _(event: ev.RunUnpaused, state: RunState, history: History) -> None:
    state.status = "running"


@_apply.register
def _(event: ev.StopRequested, state: RunState, history: History) -> None:
    state.status = "stopping"
    state.reason = event.reason


@_apply.register
def _(event: ev.RunFinished, state: RunState, history: History) -> None:
    state.status = event.status
    state.reason = event.reason
    state.problem = event.problem
    state.step = state.step if event.step is None else event.step
    state.epoch = state.epoch if event.epoch is None else event.epoch
    state.phase = None
    state.ended = event.time


@_apply.register
def _(event: ev.RunFailed | ev.RunLost, state: RunState, history: History) -> None:
    is_lost = isinstance(event, ev.RunLost)
    state.status = "lost" if is_lost else "failed"
    state.reason = event.reason
    state.phase = None
    state.ended = state.ended if is_lost else event.time


@_apply.register
def _(event: ev.FolderMoved, state: RunState, history: History) -> None:
    state.name = event.name
    state.folder = event.folder


@_apply.register
def _(event: ev.CommandApplied, state: RunState, history: History) -> None:
    state.changes = [*state.changes[-CHANGES + 1 :], event]
    if isinstance(event.command, MeasureLayers) and not event.command.every:
        state.layers_measured, state.gradient_norms = None, {}
    if "lr" in event.result:
        state.metrics = {**state.metrics, "lr": event.result["lr"]}
        state.lr_scale = event.result.get("scale", state.lr_scale)
        state.lr_held = event.result.get("held")
    if isinstance(event.command, ChangeSetting):
        change_setting(state, event.result)
