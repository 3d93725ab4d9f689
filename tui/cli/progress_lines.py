"""A run's events as lines of plain text."""

from __future__ import annotations

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import RunState, apply
from torchconsole.engine.text import printable
from torchconsole.tui.cli.phases import PhaseLines
from torchconsole.tui.formatting import format_metric, format_number

HIDDEN_METRICS = ("lr", "samples_per_sec", "grad_norm")
"""Said elsewhere on the line, or of no use on it."""

MOST_METRICS = 4


class ProgressLines:
    """Follows a run from `state` on and says in a line what is worth one."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._phases = PhaseLines()
        self._loop_runs = False
        self._logged = 0

    def line_for(self, event: ev.Event | Snapshot) -> str | None:
        """What to print for this event; None for most. A snapshot takes the place of all before it."""
        if isinstance(event, Snapshot):
            self._state = event.state
            return None
        apply(self._state, {}, event)
        text = self._text(event)
        return None if text is None else printable(text)

    def _text(self, event: ev.Event) -> str | None:
        match event:
            case ev.MetricsLogged():
                self._loop_runs = True
                self._logged = event.step
            case ev.EpochCompleted():
                self._state.metrics = {**self._state.metrics, **event.metrics}
            case ev.PhaseChanged() if not self._loop_runs:
                return self._phases.line_for(event)
            case ev.DeviceDescribed():
                return f"device {event.device.device} ({event.device.name}), torch {event.device.torch}"
            case ev.EarlyStoppingUpdated():
                return self._standing()
            case ev.EvaluationCompleted() if event.reason == "command" or not self._judged:
                return self._standing()
            case ev.CommandApplied():
                return f"step {event.step:,}: {event.detail} (asked by {event.by})"
            case ev.CheckpointFailed():
                return f"checkpoint failed: {event.reason}"
            case ev.LogWritten() if event.level in ("warning", "error"):
                return f"{event.level}: {event.message}"
            case ev.LogWritten() if not self._loop_runs:
                return event.message
        return None

    @property
    def _judged(self) -> bool:
        """Whether early stopping has the last word on each evaluation."""
        return bool(self._state.config.get("early_stopping"))

    def _standing(self) -> str:
        """Where the run stands after an evaluation."""
        state = self._state
        epochs = f"/{state.total_epochs:,}" if state.total_epochs else ""
        parts = [f"epoch {state.epoch:,}{epochs}", f"step {state.step:,}"]
        parts += [f"{name} {self._value(name)}" for name in self._shown()]
        if state.lr is not None and self._is_fresh:
            parts.append(f"lr {format_number(state.lr)}")
        if speed := state.metrics.get("samples_per_sec"):
            parts.append(f"{speed:,.0f} samples/s")
        if stopping := state.early_stopping:
            parts.append(f"without improvement {stopping.counter:,}/{stopping.patience:,}")
        return "  ".join(parts)

    @property
    def _is_fresh(self) -> bool:
        """Whether what is known of the lr is of this epoch: in a fast run it may come after an evaluation."""
        return self._state.step - self._logged < max(1, (self._state.steps_per_epoch or 1) // 2)

    def _shown(self) -> list[str]:
        """The losses, then the metrics of the task; one of a single class is too much for a line."""
        names = [n for n in self._state.metrics if n not in HIDDEN_METRICS and n.count("/") < 2]
        return sorted(names, key=lambda name: name not in ("train/loss", "val/loss"))[:MOST_METRICS]

    def _value(self, name: str) -> str:
        value = self._state.metrics[name]
        return "not finite" if value is None else format_metric(value)
