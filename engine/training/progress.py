"""How far a training has come and how long it took: steps, epochs, batches and active seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from torchconsole.engine.training.command_queue import CommandQueue

T = TypeVar("T")

RATE_WINDOW = 0.25
"""Seconds over which samples per second are measured; single steps are too short to time."""


@dataclass
class Progress:
    """Counts completed steps and epochs, and the batches consumed of the current epoch.

    `revision` counts changes of state that are not steps (an lr set by hand, an evaluation), so that two
    checkpoints of one step can be told apart. `evaluated` is the step of the last scheduled evaluation.
    `skipped` counts steps left out because of numbers that are not finite. `active_seconds` leaves pauses
    out.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    revision: int = 0
    evaluated: int = 0
    skipped: int = 0
    active_seconds: float = 0.0

    @property
    def current_epoch(self) -> int:
        """The epoch in progress, from 1; between two epochs the one just completed."""
        return self.epoch + (self.batch > 0)

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers for a checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, value in state.items():
            setattr(self, name, value)


class TrainingClock:
    """Measures active seconds and samples per second; pauses count for neither."""

    def __init__(self, progress: Progress) -> None:
        self.samples_per_sec: float | None = None
        self.ticked_at = 0.0
        """Time of the last tick, by `time.perf_counter`."""
        self._progress = progress
        self.start()

    def start(self) -> None:
        """Start, or start again after a pause."""
        self.ticked_at = time.perf_counter()
        self._begin_window()

    def tick(self) -> None:
        """Add the time since the last tick to the active seconds."""
        now = time.perf_counter()
        self._progress.active_seconds += now - self.ticked_at
        self.ticked_at = now

    def leave_out(self, seconds: float) -> None:
        """Count the last `seconds` as active, but not for the rate: they were not training."""
        self._since += seconds

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Leave the time within this context out of the active seconds and of the rate."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            self.ticked_at += seconds
            self._since += seconds

    def add_samples(self, samples: int) -> None:
        """Count samples that were trained on since the last call."""
        self.tick()
        self._samples += samples
        elapsed = self.ticked_at - self._since
        if elapsed >= RATE_WINDOW:
            self.samples_per_sec = self._samples / elapsed
            self._begin_window()

    def _begin_window(self) -> None:
        self._since = self.ticked_at
        self._samples = 0


def each_batch(batches: Iterable[T], commands: CommandQueue, *, is_alone: bool = True) -> Iterator[T]:
    """Yield each of `batches`; `commands.waits_since` is set while the next one is waited for.

    Not if the process trains with others, which would wait for it: it ends a wait for data with them.
    """
    if not is_alone:
        for each in batches:
            commands.batches += 1
            yield each
        return
    iterator = iter(batches)
    try:
        while True:
            commands.waits_since = time.monotonic()
            batch = next(iterator)
            commands.waits_since = None
            yield batch
    except StopIteration:
        return
    finally:
        commands.waits_since = None
