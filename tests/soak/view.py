"""What one client has heard of a run, by number and by step; what was thinned it reads in the file."""

from __future__ import annotations

from torchconsole.engine.client.recorded_client import RunTail
from torchconsole.engine.protocol.events import Event, MetricsLogged
from torchconsole.engine.protocol.messages import Snapshot


class View:
    """Knows which numbers are still to come before everything up to the last one is there.

    `tail` is read on: a later view of the same client goes on with it.
    """

    def __init__(self, snapshot: Snapshot, tail: RunTail) -> None:
        self.events = self.snapshots = self.gaps = 0
        self._tail = tail
        self._begin(snapshot)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing. Metrics may be on their way behind events that overtook them."""
        return not self._ahead

    def take(self, heard: Event | Snapshot) -> None:
        """Note what was heard."""
        if isinstance(heard, Snapshot):
            self.snapshots += 1
            self._begin(heard)
            return
        self.events += 1
        first = heard.seq
        if isinstance(heard, MetricsLogged):
            first = heard.first_seq
            self._take_steps(heard)
        else:
            self._told.add(heard.seq)
        self._ahead.update(number for number in range(first, heard.seq + 1) if number > self._upto)
        while self._upto + 1 in self._ahead:
            self._upto += 1
            self._ahead.discard(self._upto)

    def missing(self) -> int:
        """How many numbers, steps, and events that the files tell of, are not in this view."""
        self._read_on(self._upto)
        holes = max(self._steps) - min(self._steps) + 1 - len(self._steps)
        return len(self._ahead) + holes + len(self._filed - self._told)

    def _begin(self, snapshot: Snapshot) -> None:
        self._start = self._upto = snapshot.state.seq
        self._ahead: set[int] = set()
        self._steps = {snapshot.state.step}
        self._told: set[int] = set()
        self._filed: set[int] = set()

    def _take_steps(self, heard: MetricsLogged) -> None:
        self.gaps += heard.gap
        steps = self._read_on(heard.seq) if heard.gap else {heard.seq: heard.series["train/loss"].steps}
        for seq, logged in steps.items():
            if seq >= heard.first_seq:
                self._steps.update(logged)

    def _read_on(self, until: int) -> dict[int, list[int]]:
        """The steps of the lines up to the number `until`, by number; notes the other lines' numbers."""
        steps: dict[int, list[int]] = {}
        for event in self._tail.read(until):
            if isinstance(event, MetricsLogged):
                steps[event.seq] = [event.step]
            elif event.seq > self._start:
                self._filed.add(event.seq)
        return steps
