"""The events of a run as lines of plain text, for `--headless` and for slow reports."""

from __future__ import annotations

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import RunState, apply
from torchconsole.engine.text import printable
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

HIDDEN_METRICS = ("lr", "samples_per_sec", "grad_norm")
"""Metrics that have their own place on the line, or none."""

MOST_METRICS = 4


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
        self._state = state
        self._phases = PhaseLines()
        self._is_training = False
        self._last_logged_step = 0

    def line_for(self, event: ev.Event | Snapshot) -> str | None:
        """Return the line to print for an event; None for most. A snapshot replaces everything before it."""
        if isinstance(event, Snapshot):
            self._state = event.state
            return None
        if isinstance(event, ev.DeviceDescribed) and self._state.device is not None:
            return None  # described again, since its number of threads has changed
        apply(self._state, {}, event)
        line = self._format(event)
        return None if line is None else printable(line)

    def _format(self, event: ev.Event) -> str | None:
        match event:
            case ev.MetricsLogged():
                self._is_training = True
                self._last_logged_step = event.step
            case ev.EpochCompleted():
                self._state.metrics = {**self._state.metrics, **event.metrics}
            case ev.PhaseChanged() if not self._is_training:
                return self._phases.line_for(event)
            case ev.DeviceDescribed():
                return f"device {event.device.device} ({event.device.name}), torch {event.device.torch}"
            case ev.EarlyStoppingUpdated():
                return self._format_evaluation()
            case ev.EvaluationCompleted() if event.reason == "command" or not self._has_early_stopping:
                return self._format_evaluation()
            case ev.CommandApplied():
                return f"step {event.step:,}: {event.detail} (requested by {event.by})"
            case ev.CheckpointFailed():
                return f"checkpoint failed: {event.reason}"
            case ev.LogWritten() if event.level in ("warning", "error"):
                return f"{event.level}: {event.message}"
            case ev.LogWritten() if not self._is_training:
                return event.message
        return None

    @property
    def _has_early_stopping(self) -> bool:
        """Whether EarlyStoppingUpdated follows each evaluation; the line is printed then."""
        return bool(self._state.config.get("early_stopping"))

    def _format_evaluation(self) -> str:
        """Return where the run is after an evaluation, with its metrics."""
        state = self._state
        epochs = f"/{state.total_epochs:,}" if state.total_epochs else ""
        parts = [f"epoch {state.epoch:,}{epochs}", f"step {state.step:,}"]
        parts += [f"{name} {self._format_metric(name)}" for name in self._shown_metrics()]
        if state.lr is not None and self._lr_is_current:
            parts.append(f"lr {format_number(state.lr)}")
        if speed := state.metrics.get("samples_per_sec"):
            parts.append(f"{speed:,.0f} samples/s")
        if stopping := state.early_stopping:
            parts.append(f"without improvement {stopping.counter:,}/{stopping.patience:,}")
        return "  ".join(parts)

    @property
    def _lr_is_current(self) -> bool:
        """Whether the lr is from this epoch: in a fast run it may arrive after the evaluation."""
        return self._state.step - self._last_logged_step < max(1, (self._state.steps_per_epoch or 1) // 2)

    def _shown_metrics(self) -> list[str]:
        """Return the losses, then the task's metrics, without those of single classes."""
        names = [n for n in self._state.metrics if n not in HIDDEN_METRICS and n.count("/") < 2]
        return sorted(names, key=lambda name: name not in ("train/loss", "val/loss"))[:MOST_METRICS]

    def _format_metric(self, name: str) -> str:
        return format_named_metric(name, self._state.metrics[name])
