"""The training thread's way to speak: it leaves things here and goes on at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import MetricsPoint

ROUTINE = (
    ev.EvaluationCompleted,
    ev.EpochCompleted,
    ev.EarlyStoppingUpdated,
    ev.SchedulePlanned,
    ev.PhaseChanged,
    ev.CheckpointSaved,
    ev.LogWritten,
    ev.TelemetryMeasured,
)
"""Events that nobody waits for: they go out with the next metrics, a tenth of a second later at most."""


SETTLE_SECONDS = 5.0
"""How long to wait for the files at most: a checkpoint is worth more than the lines before it."""


class EventQueue:
    """What the training says, in the order it was said. Any thread may speak; none ever waits or does I/O."""

    def __init__(self) -> None:
        self._items: deque[ev.Event | MetricsPoint | threading.Event] = deque()
        self._wake: Callable[[], object] | None = None

    def log(self, point: MetricsPoint) -> None:
        """Say the metrics of a step: an append and nothing else."""
        self._items.append(point)

    def emit(self, event: ev.Event) -> None:
        """Say something that nobody may miss. Wakes the server, unless it is a matter of routine."""
        self._items.append(event)
        wake = self._wake
        if wake is not None and not isinstance(event, ROUTINE):
            wake()

    def settle(self) -> None:
        """Wait, in another thread than the training's, until all that was said until now is in the files."""
        mark = threading.Event()
        self._items.append(mark)
        wake = self._wake
        if wake is not None:
            wake()
            mark.wait(SETTLE_SECONDS)

    def take(self) -> Iterator[ev.Event | MetricsPoint | threading.Event]:
        """Take what has been said until now, oldest first; what is said meanwhile stays for the next time.

        A `threading.Event` among it is to be set once what came before is written.
        """
        for _ in range(len(self._items)):
            yield self._items.popleft()

    def on_urgent(self, wake: Callable[[], object] | None) -> None:
        """Call `wake`, from the thread that spoke, after each event that cannot wait; None for nobody."""
        self._wake = wake
