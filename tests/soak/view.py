"""The event numbers and steps that one client has received; thinned metrics are read from the file."""

from __future__ import annotations

from torchconsole.engine.client.recorded_client import RunTail
from torchconsole.engine.protocol.events import Event, MetricsLogged
from torchconsole.engine.protocol.messages import Snapshot


class View:
    """Track which event numbers are still missing before the last one received.

    `tail` keeps its position, so that the client's next view continues there.
    """

    def __init__(self, snapshot: Snapshot, tail: RunTail) -> None:
        self.events = self.snapshots = self.gaps = 0
        self._tail = tail
        self._begin(snapshot)

    @property
    def is_complete(self) -> bool:
        """Whether no number is missing. Metrics may arrive after events with higher numbers."""
        return not self._ahead

    def add(self, event: Event | Snapshot) -> None:
        """Add a received event or snapshot."""
        if isinstance(event, Snapshot):
            self.snapshots += 1
            self._begin(event)
            return
        self.events += 1
        first = event.seq
        if isinstance(event, MetricsLogged):
            first = event.first_seq
            self._add_steps(event)
        else:
            self._received.add(event.seq)
        self._ahead.update(number for number in range(first, event.seq + 1) if number > self._upto)
        while self._upto + 1 in self._ahead:
            self._upto += 1
            self._ahead.discard(self._upto)

    def missing(self) -> int:
        """Count the numbers, the steps and the recorded events that are not in this view."""
        self._read_on(self._upto)
        holes = max(self._steps) - min(self._steps) + 1 - len(self._steps)
        return len(self._ahead) + holes + len(self._recorded - self._received)

    def _begin(self, snapshot: Snapshot) -> None:
        self._start = self._upto = snapshot.state.seq
        self._ahead: set[int] = set()
        self._steps = {snapshot.state.step}
        self._received: set[int] = set()
        self._recorded: set[int] = set()

    def _add_steps(self, event: MetricsLogged) -> None:
        self.gaps += event.gap
        steps = self._read_on(event.seq) if event.gap else {event.seq: event.series["train/loss"].steps}
        for seq, logged in steps.items():
            if seq >= event.first_seq:
                self._steps.update(logged)

    def _read_on(self, until: int) -> dict[int, list[int]]:
        """Return the steps of the metrics up to the number `until`, by number; notes other events."""
        steps: dict[int, list[int]] = {}
        for event in self._tail.read(until):
            if isinstance(event, MetricsLogged):
                steps[event.seq] = [event.step]
            elif event.seq > self._start:
                self._recorded.add(event.seq)
        return steps
