"""What one client has heard of a run, by sequence number."""

from __future__ import annotations

from torchconsole.engine.protocol.events import Event, MetricsLogged
from torchconsole.engine.protocol.messages import Snapshot


class View:
    """Knows which numbers are still to come before everything up to the last one is there."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.upto = snapshot.state.seq
        self.ahead: set[int] = set()
        self.events = self.snapshots = self.gaps = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing. Metrics may be on their way behind events that overtook them."""
        return not self.ahead

    def take(self, heard: Event | Snapshot) -> None:
        """Note what was heard."""
        if isinstance(heard, Snapshot):
            self.snapshots += 1
            self.upto = heard.state.seq
            self.ahead.clear()
            return
        self.events += 1
        first = heard.seq
        if isinstance(heard, MetricsLogged):
            first = heard.first_seq
            self.gaps += heard.gap
        self.ahead.update(number for number in range(first, heard.seq + 1) if number > self.upto)
        while self.upto + 1 in self.ahead:
            self.upto += 1
            self.ahead.discard(self.upto)
