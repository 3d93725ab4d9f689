"""The events of a run as lines of plain text, for `--headless` and for slow reports."""

from __future__ import annotations

import json
import math

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import Best
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import RunState, apply
from torchconsole.engine.text import ascii_json, printable
from torchconsole.tui.formatting import (
    format_duration,
    format_named_metric,
    format_number,
    format_phase,
    format_progress,
    seconds_left,
)

PHASE_INTERVAL = 10.0
"""Seconds between two lines about the same phase."""

TRAINING_INTERVAL = 30.0
"""Seconds of training without a line after which there is one."""

EPOCH_INTERVAL = 1.0
"""Least seconds between the lines of two epochs without an evaluation."""

HIDDEN_METRICS = ("lr", "samples_per_sec", "steps_per_sec", "grad_norm", "data_wait")
"""Metrics that have their own place on the line, or none."""

MOST_METRICS = 4

DEFAULT_MONITOR = "val/loss"

BEST = "★"
"""Stands after the value of the monitored metric if no evaluation before it was better."""


class PhaseLines:
    """Prints a line when a slow phase begins, then its progress every PHASE_INTERVAL seconds."""

    def __init__(self) -> None:
        self._last: ev.PhaseChanged | None = None

    def line_for(self, phase: ev.PhaseChanged) -> str | None:
        """Return `decoding samples (train): 12 of 50, ETA 0:09`, or None if this phase has a recent line."""
        last = self._last
        begins = last is None or not phase.continues(last)
        if last is not None and not begins and phase.time - last.time < PHASE_INTERVAL:
            return None
        self._last = phase
        hint = f"; {phase.hint}" if phase.hint and begins else ""
        left = seconds_left(phase)
        eta = "" if left is None else f", ETA {format_duration(left)}"
        return ": ".join(filter(None, (format_phase(phase), format_progress(phase)))) + eta + hint


class ProgressLines:
    """Follows a run from `state` on, and formats the events that deserve a line."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.width: int | None = None
        """Cells into which the line of an evaluation has to fit; None for any number."""
        self._phases = PhaseLines()
        self._is_training = False
        self._lowest_step: int | None = None
        self._begin_at(state.best)
        self._last_logged_step = 0
        self._evaluates = "script" not in state.config
        """Whether evaluations are to be expected. A program may make none, or none that is seen."""
        self._evaluated: set[str] = set()
        """Metrics of the last evaluation."""
        self._shown_epoch, self._shown_time = 0, math.inf
        """Epoch and time of the last line about the training."""

    def _begin_at(self, best: Best | None) -> None:
        """Compare later evaluations with the best one so far."""
        if best is not None and best.metric == DEFAULT_MONITOR:
            self._lowest, self._lowest_step = best.value, best.step
        else:
            self._lowest, self._lowest_step = math.inf, None

    def line_for(self, event: ev.Event | Snapshot) -> str | None:
        """Return the line to print for an event; None for most. A snapshot replaces everything before it."""
        if isinstance(event, Snapshot):
            self.state = event.state
            return None
        if isinstance(event, ev.DeviceDescribed) and self.state.device is not None:
            return None  # described again, since its number of threads has changed
        apply(self.state, {}, event)
        line = self._format(event)
        return None if line is None else printable(line)

    def _format(self, event: ev.Event) -> str | None:
        match event:
            case ev.MetricsLogged():
                return self._training_line(event)
            case ev.EpochCompleted():
                self.state.metrics = {**self.state.metrics, **event.metrics}
            case ev.PhaseChanged() if not self._is_training:
                line = self._phases.line_for(event)
                return None if line is None else self._note("phase", line)
            case ev.DeviceDescribed():
                found = f"device {event.device.device} ({event.device.name}), torch {event.device.torch}"
                return self._note("device", found)
            case ev.RunResumed():
                self._begin_at(event.best)
                self._evaluated = set()
            case ev.EarlyStoppingUpdated() if self._evaluated:  # else a resume has restored it
                return self._evaluation_line(event)
            case ev.EvaluationCompleted():
                self._note_lowest(event)
                self._evaluates, self._evaluated = True, set(event.metrics)
                if event.reason == "command" or not self._has_early_stopping:
                    return self._evaluation_line(event)
            case ev.RunFinished() if self._is_training and not self._evaluates:
                return self._format_training()
            case ev.CommandApplied():
                return self._note("command", f"step {event.step:,}: {event.detail} (requested by {event.by})")
            case ev.CheckpointFailed():
                return self._note("failure", f"checkpoint failed: {event.reason}")
            case ev.LogWritten() if event.level in ("warning", "error"):
                return self._note(event.level, event.message)
            case ev.LogWritten() if event.level != "output" and not self._is_training:
                return self._note("info", event.message)
        return None

    def _training_line(self, event: ev.MetricsLogged) -> str | None:
        """Return the line about the training if an epoch of a program begins, or if the last one is old."""
        begins = not self._is_training
        self._is_training = True
        self._last_logged_step = event.step
        if begins:
            self._shown_time = event.time - (0 if self._evaluates else EPOCH_INTERVAL)
        is_next = not self._evaluates and event.epoch > self._shown_epoch
        if event.time - self._shown_time < (EPOCH_INTERVAL if is_next else TRAINING_INTERVAL):
            return None
        self._shown_epoch, self._shown_time = event.epoch, event.time
        return self._format_training()

    def _evaluation_line(self, event: ev.EvaluationCompleted | ev.EarlyStoppingUpdated) -> str:
        self._shown_epoch, self._shown_time = self.state.epoch, event.time
        return self._format_evaluation()

    def _note(self, kind: str, text: str) -> str:
        """Return the line about anything but an evaluation or the training."""
        return f"{kind}: {text}" if kind in ("warning", "error") else text

    @property
    def _has_early_stopping(self) -> bool:
        """Whether EarlyStoppingUpdated follows each evaluation; the line is printed then."""
        return bool(self.state.config.get("early_stopping"))

    def _format_evaluation(self) -> str:
        """Return where the run is after an evaluation. The columns of all such lines are below each other."""
        return self._format_line(self.shown_metrics)

    def _format_training(self) -> str:
        """Return where the run is between evaluations, without the metrics of the last one."""
        return self._format_line(self._training_metrics)

    def _format_line(self, names: list[str]) -> str:
        state = self.state
        parts = {
            "epoch": _of_total("epoch", state.epoch, state.total_epochs),
            "step": f"step {state.step:>{_digits(state.total_steps)},}",
        }
        parts |= {name: self._format_metric(name) for name in names}
        if state.lr is not None:
            parts["lr"] = f"lr {format_number(state.lr):<8}" if self._lr_is_current else " " * 11
        parts["speed"] = f"{_speed(state):<17}"
        if stopping := state.early_stopping:
            spent = f"{stopping.counter:>{_digits(stopping.patience)},}/{stopping.patience:,}"
            parts["stopping"] = f"without improvement {spent}"
        if state.eta_seconds:
            parts["eta"] = f"ETA {format_duration(state.eta_seconds)}"
        for name in ("stopping", "speed", "lr", *reversed(names[2:]), "step"):
            if self.width is not None and len("  ".join(parts.values())) > self.width:
                parts.pop(name, None)
        return "  ".join(parts.values()).rstrip()

    @property
    def is_best(self) -> bool:
        """Whether the last evaluation is the best so far."""
        stopping = self.state.early_stopping
        if stopping is not None:
            return stopping.best_step == self.state.step > 0
        return self._lowest_step == self.state.step

    @property
    def _monitor(self) -> str:
        """The metric that decides what is best: without early stopping it is val/loss."""
        return self.state.early_stopping.monitor if self.state.early_stopping else DEFAULT_MONITOR

    def _note_lowest(self, event: ev.EvaluationCompleted) -> None:
        value = event.metrics.get(DEFAULT_MONITOR)
        if value is not None and value < self._lowest:
            self._lowest, self._lowest_step = value, event.step

    @property
    def _lr_is_current(self) -> bool:
        """Whether the lr is from this epoch: in a fast run it may arrive after the evaluation."""
        return self.state.step - self._last_logged_step < max(1, (self.state.steps_per_epoch or 1) // 2)

    @property
    def shown_metrics(self) -> list[str]:
        """The losses, then the task's metrics, without those of single classes."""
        names = [n for n in self.state.metrics if n not in HIDDEN_METRICS and n.count("/") < 2]
        return sorted(names, key=lambda name: name not in ("train/loss", "val/loss"))[:MOST_METRICS]

    @property
    def _training_metrics(self) -> list[str]:
        return [name for name in self.shown_metrics if name not in self._evaluated]

    def _format_metric(self, name: str) -> str:
        mark = BEST if name == self._monitor and self.is_best else ""
        return f"{name} {format_named_metric(name, self.state.metrics[name]) + mark:<9}"


class ProgressJson(ProgressLines):
    """The same lines as JSON. An evaluation has the type `epoch`, a line between two of them `training`;
    all else has a `message`.
    """

    def _note(self, kind: str, text: str) -> str:
        return ascii_json(json.dumps({"type": kind, "message": text}))

    def _format_evaluation(self) -> str:
        return self._as_json("epoch", self.shown_metrics)

    def _format_training(self) -> str:
        return self._as_json("training", self._training_metrics)

    def _as_json(self, kind: str, names: list[str]) -> str:
        state = self.state
        values = {name: state.metrics[name] for name in names}
        shown = {name: value if _is_finite(value) else None for name, value in values.items()}
        content = {
            "type": kind,
            "epoch": state.epoch,
            "epochs": state.total_epochs,
            "step": state.step,
            "steps": state.total_steps,
            "metrics": shown,
            "lr": state.lr if self._lr_is_current else None,
            "samples_per_sec": state.metrics.get("samples_per_sec"),
            "is_best": self.is_best,
            "eta_seconds": state.eta_seconds,
        }
        if speed := state.metrics.get("steps_per_sec"):
            content["steps_per_sec"] = speed
        return ascii_json(json.dumps(content))


def _speed(state: RunState) -> str:
    """Return the samples, or of a program the steps, of a second; empty if unknown."""
    for name, unit in (("samples_per_sec", "samples/s"), ("steps_per_sec", "steps/s")):
        if speed := state.metrics.get(name):
            return f"{speed:>7,.0f} {unit}"
    return ""


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _of_total(what: str, count: int, total: int | None) -> str:
    return f"{what} {count:>{_digits(total)},}/{total:,}" if total else f"{what} {count:,}"


def _digits(total: int | None) -> int:
    """Return the width of the largest number up to a total."""
    return len(f"{total:,}") if total else 1
