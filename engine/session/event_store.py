"""Numbers events, folds them into the state, has them written to the files, and publishes them."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from itertools import chain

from torchconsole.engine.protocol.events import (
    Event,
    MetricsLogged,
    RanksMeasured,
    RunFinished,
    TelemetryMeasured,
)
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.points import MetricsPoint, Points
from torchconsole.engine.protocol.run_state import History, RunState, Storage, apply, fields_stored_in
from torchconsole.engine.run import recorded_history
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import holds_lock, lock_id
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.session.end_problem import describe_problem
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.run_files import RunFiles
from torchconsole.engine.session.run_place import RunPlace

PERIOD = 0.1
"""Seconds from one `drain` to the next, unless an urgent event comes."""


class EventStore:
    """Lives in the server's thread. An event is on disk and in the state before any listener receives it.

    Each logged step and each event has a sequence number of its own; a MetricsLogged event has the numbers of
    the first and the last of its steps.
    """

    def __init__(self, folder: RunFolder, state: RunState, event_queue: EventQueue) -> None:
        self._lock = lock_id(folder.lock_file)
        self.state, self._history = _continued(folder, state)
        self._seq = self.state.seq
        self._cached_seq = 0
        self._event_queue = event_queue
        self._listeners: list[Callable[[Event], None]] = []
        self._files = RunFiles(folder, event_queue.emit, self._write_preset)
        self.place = RunPlace(folder, event_queue.emit)
        self.place.follow_with(self._files.move_to)
        self._points: list[MetricsPoint] = []
        self._points_recorded = 0.0
        self._unpublished: list[Event] = []
        self._marks: list[threading.Event] = []

    @property
    def lock(self) -> str:
        """What identifies the lock that this process holds, wherever its folder is now: see `lock_id`."""
        if holds_lock(self.place.folder.lock_file):
            self._lock = lock_id(self.place.folder.lock_file)
        return self._lock

    @property
    def run_record(self) -> RunRecord:
        """What run.json has of the state as it is now, even if it cannot be written."""
        return self._files.record_of(self.state)

    def set_address(self, address: str) -> None:
        """Have run.json name this address of the run's socket."""
        self._files.set_address(address)

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event from now on, in order."""
        self._listeners.append(listener)

    def drain(self) -> None:
        """Record what is in the queue, write it to the files, then publish it.

        Metrics make one event; those logged after the last event in the queue wait for the next call.
        """
        self._take()
        if self._marks or time.monotonic() - self._points_recorded > PERIOD / 2:
            self._record_points()
        is_there = self._is_folder_there()
        if is_there:
            self._files.write(self.state)
        self._publish()
        if is_there and self._seq - self._cached_seq >= recorded_history.CACHE_EVERY:
            self._cached_seq = self._seq
            self._files.write_history(self.snapshot())

    def record(self, event: Event) -> None:
        """Number an event and apply it to the state. The next `drain` publishes it.

        Telemetry gets no number, so that a run's numbers do not depend on whether anybody watches it.
        """
        if isinstance(event, TelemetryMeasured | RanksMeasured):
            self._add(event)
            return
        self._record_points()
        if isinstance(event, RunFinished):
            event = self._with_problem(event)
        self._seq += 1
        self._add(event.model_copy(update={"seq": self._seq}))

    def snapshot(self) -> Snapshot:
        """Return state and history up to the last event published."""
        history = {name: series.to_points() for name, series in self._history.items()}
        return Snapshot(state=self.state.model_copy(), history=history)

    def close(self) -> None:
        """Record, write and publish whatever is left."""
        self._take()
        self._record_points()
        if self._is_folder_there():
            self._files.write_all(self.state)
        self._files.close()
        self.place.close()
        self._publish()

    def _write_preset(self, changes: int) -> None:
        self.place.write_preset(self.place.folder, changes)

    def _with_problem(self, event: RunFinished) -> RunFinished:
        """Add which files cannot be written any more. Nobody is there to try again after this event."""
        if self._is_folder_there():
            self._files.write_all(self.state)
            causes = self._files.missing_at_the_end
        else:
            causes = {"nothing": FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))}
        problem = describe_problem(event.problem, causes, self.place.folder)
        return event.model_copy(update={"problem": problem})

    def _is_folder_there(self) -> bool:
        self.place.written = self._files.record
        return self.place.check()

    def _take(self) -> None:
        for item in self._event_queue.take():
            if isinstance(item, MetricsPoint):
                self._points.append(item)
            elif isinstance(item, threading.Event):
                self._marks.append(item)
            else:
                self.record(item)

    def _record_points(self) -> None:
        """Make one event of the steps logged so far: metrics come before the events that followed them."""
        if not self._points:
            return
        first = self._seq + 1
        self._files.add_points(self._points, first)
        self._seq += len(self._points)
        self._add(combine(self._points, first, self._seq))
        self._points.clear()
        self._points_recorded = time.monotonic()

    def _add(self, event: Event) -> None:
        apply(self.state, self._history, event)
        self._files.add(event)
        self._unpublished.append(event)

    def _publish(self) -> None:
        for mark in self._marks:
            mark.set()
        self._marks.clear()
        events, self._unpublished = self._unpublished, []
        for event in events:
            for listener in self._listeners:
                listener(event)


def combine(points: Sequence[MetricsPoint], first_seq: int, seq: int) -> MetricsLogged:
    """Make one event of one or more logged steps, with a complete series per metric.

    `first_seq` and `seq` are the sequence numbers of the first and the last step.
    """
    metrics = [point.metrics for point in points]
    steps = [point.step for point in points]
    last = points[-1]
    return MetricsLogged(
        first_seq=first_seq,
        seq=seq,
        time=last.time,
        step=last.step,
        epoch=last.epoch,
        active_seconds=last.active_seconds,
        series={name: _column(name, steps, metrics) for name in dict.fromkeys(chain.from_iterable(metrics))},
    )


def _column(name: str, steps: Sequence[int], metrics: Sequence[dict[str, float]]) -> Points:
    """One metric at the steps that have it."""
    values = [found[name] for found in metrics if name in found]
    if len(values) < len(steps):
        steps = [step for step, found in zip(steps, metrics, strict=True) if name in found]
    return Points.of(steps, values)


def _continued(folder: RunFolder, state: RunState) -> tuple[RunState, History]:
    """Add to a worker's initial state what a resumed run continues with, from its files."""
    before, history = recorded_history.read_run(folder)
    carried = {
        name: getattr(before, name)
        for name in fields_stored_in(Storage.RESUMED)
        if name not in state.model_fields_set
    }
    here = {"pid": os.getpid(), "host": socket.gethostname()}
    return state.model_copy(update={**carried, **here}), history
