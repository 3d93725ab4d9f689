"""The last minutes of the machine's load, as the console has received it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from torchconsole.engine.protocol.info import Telemetry

if TYPE_CHECKING:
    from torchconsole.tui.state import ConsoleState

SAMPLE_SECONDS = 2.0
"""A worker measures this often."""

SAMPLES = 300
"""Ten minutes."""


class DeviceHistory:
    """The newest SAMPLES measurements, oldest first. `measured` counts all that have arrived."""

    def __init__(self) -> None:
        self.samples: deque[Telemetry] = deque(maxlen=SAMPLES)
        self.measured = 0

    def add(self, telemetry: Telemetry) -> None:
        """Append a measurement."""
        self.samples.append(telemetry)
        self.measured += 1

    def last(self, count: int) -> list[Telemetry]:
        """Return the last `count` measurements, or as many as there are."""
        skipped = max(0, len(self.samples) - count)
        return [sample for number, sample in enumerate(self.samples) if number >= skipped]


def metric_over_time(state: ConsoleState, metric: str, count: int) -> list[float | None]:
    """Return a metric at the last `count` measurements, as if all steps took equally long.

    None stands for times before the first step.
    """
    series, seconds = state.history.get(metric), state.active_seconds
    if series is None or not len(series) or not seconds > 0:
        return []
    pace = state.run.step / seconds
    steps = state.run.step - np.arange(count - 1, -1, -1) * SAMPLE_SECONDS * pace
    at = np.searchsorted(series.steps, steps, side="right") - 1
    values = series.values[np.maximum(at, 0)]
    return [float(value) if step >= 0 else None for value, step in zip(values, steps, strict=True)]
