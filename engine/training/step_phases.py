"""Measures where the time of a step goes: about one step a second is sampled, the others cost nothing."""

from __future__ import annotations

import itertools
import math
import time
from typing import NamedTuple

import torch

from torchconsole.engine.components.ranks import ALONE, Ranks
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.protocol.info import StepTimes

SAMPLE_SECONDS = 1.0
"""Time between two sampled steps."""

KEPT = 0.9
"""Weight of the earlier samples in a mean when a new one arrives."""

MOST_WAIT = 0.999

PARTS = ("transfer", "forward", "backward", "communication", "optimizer", "other")


class _Mark(NamedTuple):
    """The end of a phase. `was_busy`: the device was then still busy with an earlier phase."""

    phase: str
    host: float
    event: torch.cuda.Event | None
    was_busy: bool


class StepPhases:
    """Samples steps: the trainer and the step mark the ends of the phases while `is_open`.

    On a GPU the marks are CUDA events, which are read once they have passed: the host waits for none.

    A compiled model is measured as it is, as a whole. An uncompiled step in its place would change the
    results: it rounds differently (by 4e-7 in a convolutional net, with torch's inductor on a CPU) and draws
    another mask for dropout. A resume, whose clock samples other steps, would not be exact.

    In a training by several processes, a part is `communication`: what is left of the waits for the others
    when all gradients are computed, or for their buffers.

    `times` are means over about the last ten samples; None before the first one.
    """

    def __init__(
        self, device: torch.device, log_every: int = 1, ranks: Ranks = ALONE, *, is_compiled: bool = False
    ) -> None:
        self.is_open = False
        self.due_at = math.inf
        """When to call `turn` next, by `time.perf_counter`."""
        self.times: StepTimes | None = None
        self.data_wait = 0.0
        self.samples_per_sec: float | None = None
        """What `turn` was told last."""
        self._is_measurable = device.type in ("cpu", "cuda")
        self._on_gpu = device.type == "cuda"
        self.log_every = log_every
        """Steps between two logged lines."""
        self._is_compiled = is_compiled
        self._marks: list[_Mark] = []
        self._is_waiting = False
        self._weight = 0.0
        missing = {"transfer": not self._on_gpu, "communication": not ranks.averages_in_backward}
        self._sums = {part: 0.0 for part in PARTS if not missing.get(part)}
        self._logging = 0.0

    def follow_preset(self, preset: Preset) -> None:
        """Note how often the preset says to log from now on."""
        self.log_every = preset.training.log_every or 1

    def start(self) -> None:
        """Sample from now on, except the first step, which is slower than the others."""
        if self._is_measurable:
            self.due_at = time.perf_counter()

    def turn(self, data_wait: float, samples_per_sec: float | None = None) -> None:
        """Begin a sample between two steps, or use the last one if the device has passed its marks.

        `data_wait` is the share of the time that the training has recently waited for data: batches may
        arrive in bursts, so that single steps do not tell it. `samples_per_sec` is the present speed. Does
        nothing on a device that is not measured.
        """
        self.data_wait, self.samples_per_sec = data_wait, samples_per_sec
        if not self._is_measurable:
            return
        if self._is_waiting:
            if self._has_passed():
                self._is_waiting = False
                self._use_sample(data_wait)
                self.due_at = time.perf_counter() + SAMPLE_SECONDS
            return
        self._marks.clear()
        self.is_open = True
        self.end("begin")

    def end(self, phase: str) -> None:
        """Mark the end of a phase of the sampled step."""
        event, was_busy = None, False
        if self._on_gpu:
            last = self._marks[-1].event if self._marks else None
            was_busy = last is not None and not last.query()  # type: ignore[no-untyped-call]
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
        self._marks.append(_Mark(phase, time.perf_counter(), event, was_busy))

    def close(self) -> None:
        """End the sampled step."""
        self.end("other")
        self.is_open = False
        self._is_waiting = True

    def drop(self) -> None:
        """Discard the sampled step: it was skipped, or is not like the others."""
        self.is_open = self._is_waiting = False
        self._marks.clear()

    def add_logging(self, seconds: float) -> None:
        """Note how long a line took to log, without the wait for the device."""
        self._logging = seconds if not self._logging else KEPT * self._logging + (1 - KEPT) * seconds

    def _has_passed(self) -> bool:
        event = self._marks[-1].event
        return event is None or bool(event.query())  # type: ignore[no-untyped-call]

    def _use_sample(self, data_wait: float) -> None:
        self._weight = KEPT * self._weight + 1
        for part in self._sums:
            self._sums[part] *= KEPT
        for before, after in itertools.pairwise(self._marks):
            if after.phase == "data" and self._on_gpu:
                self._sums["transfer"] += _transfer_seconds(before, after)
            elif after.phase in self._sums:
                self._sums[after.phase] += _seconds(before, after)
        parts = {part: total / self._weight for part, total in self._sums.items()}
        parts |= {"logging": self._logging / self.log_every, "other": parts.pop("other")}
        share = min(data_wait, MOST_WAIT)
        waited = sum(parts.values()) * share / (1 - share)
        self.times = StepTimes(parts={"data_wait": waited, **parts}, is_compiled=self._is_compiled)


def _seconds(before: _Mark, after: _Mark) -> float:
    if before.event is None or after.event is None:
        return after.host - before.host
    return float(before.event.elapsed_time(after.event)) / 1000


def _transfer_seconds(before: _Mark, after: _Mark) -> float:
    """Return how long the device waited for the copy of a batch, and not for the host that loads it."""
    idle = _seconds(before, after)
    return idle if after.was_busy else max(0.0, idle - (after.host - before.host))
