"""Puts what the training says in order, folds it into the state, has it written down, and passes it on."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

from torchconsole.engine.protocol.events import Event, TelemetryMeasured
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.run_state import History, Kept, RunState, apply, fields_kept
from torchconsole.engine.run import history_cache
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.recorded_history import read_run
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.metrics_coalescing import batch
from torchconsole.engine.session.run_files import RunFiles

PERIOD = 0.1
"""Seconds from one `drain` to the next, unless an event comes that cannot wait."""


class EventStore:
    """Lives in the server's thread. An event is on disk and in the state before anybody hears of it.

    Each logged step and each event has a sequence number of its own; metrics that travel as one event bear
    the numbers of the first and the last step among them.
    """

    def __init__(self, folder: RunFolder, state: RunState, event_queue: EventQueue, address: str) -> None:
        self.state, self._history = _taken_up(folder, state)
        self._seq = self.state.seq
        self._kept = 0
        self._outbox = event_queue
        self._listeners: list[Callable[[Event], None]] = []
        self._files = RunFiles(folder, address, event_queue.emit)
        self._points: list[MetricsPoint] = []
        self._points_recorded = 0.0
        self._fresh: list[Event] = []
        self._marks: list[threading.Event] = []

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event from now on, in order."""
        self._listeners.append(listener)

    def drain(self) -> None:
        """Record what was said since the last time, write it down, then publish it.

        Metrics make one event; those logged after the last event in it wait for the next time.
        """
        self._take()
        if self._marks or time.monotonic() - self._points_recorded > PERIOD / 2:
            self._record_points()
        self._files.write(self.state)
        self._publish_fresh()
        if self._seq - self._kept >= history_cache.EVERY:
            self._kept = self._seq
            self._files.keep(self.snapshot())

    def record(self, event: Event) -> None:
        """Give an event its number and its effect. The next `drain` publishes it.

        Telemetry gets no number: those of a run do not depend on who watches it.
        """
        if isinstance(event, TelemetryMeasured):
            self._add(event)
            return
        self._record_points()
        self._seq += 1
        self._add(event.model_copy(update={"seq": self._seq}))

    def snapshot(self) -> Snapshot:
        """Everything up to the last event published."""
        history = {name: series.to_points() for name, series in self._history.items()}
        return Snapshot(state=self.state.model_copy(), history=history)

    def close(self) -> None:
        """Record, write and publish whatever is left."""
        self._take()
        self._record_points()
        self._files.close(self.state)
        self._publish_fresh()

    def _take(self) -> None:
        for item in self._outbox.take():
            if isinstance(item, MetricsPoint):
                self._points.append(item)
            elif isinstance(item, threading.Event):
                self._marks.append(item)
            else:
                self.record(item)

    def _record_points(self) -> None:
        """One event for the steps logged so far: what was measured before an event is seen before it."""
        if not self._points:
            return
        first = self._seq + 1
        self._files.add_points(self._points, first)
        self._seq += len(self._points)
        self._add(batch(self._points, first, self._seq))
        self._points.clear()
        self._points_recorded = time.monotonic()

    def _add(self, event: Event) -> None:
        apply(self.state, self._history, event)
        self._files.add(event)
        self._fresh.append(event)

    def _publish_fresh(self) -> None:
        for mark in self._marks:
            mark.set()
        self._marks.clear()
        fresh, self._fresh = self._fresh, []
        for event in fresh:
            for listener in self._listeners:
                listener(event)


def _taken_up(folder: RunFolder, state: RunState) -> tuple[RunState, History]:
    """The state and history to go on from: those in the files, as far as there are any."""
    before, history = read_run(folder)
    carried = {
        name: getattr(before, name)
        for name in fields_kept(Kept.RESUMED)
        if name not in state.model_fields_set
    }
    here = {"pid": os.getpid(), "host": socket.gethostname()}
    return state.model_copy(update={**carried, **here}), history
