"""The client of a run that has ended or is out of reach: it follows the files, and sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from heapq import merge
from pathlib import Path
from typing import Any

from torchconsole.engine.client.patient_reading import patient_record, patient_snapshot
from torchconsole.engine.errors import RunError, UnreachableError
from torchconsole.engine.files import is_away
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import CommandApplied, Event
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.jsonl import (
    LINE_BYTES,
    offset_after,
    open_lines,
    parse_line,
    seq_of,
    skip_line,
)
from torchconsole.engine.run.line_formats import read_changes, read_events
from torchconsole.engine.run.record import RunRecord

POLL_SECONDS = 1.0
"""Seconds between two looks at the files: run.json is written once a second."""


class RecordedClient:
    """A RunClient that reads the run's files. The events of a live run also end once `until` is true."""

    def __init__(
        self,
        folder: RunFolder,
        snapshot: Snapshot,
        read_only: str,
        until: Callable[[RunRecord], bool] = lambda _: False,
    ) -> None:
        self.snapshot = snapshot
        self.read_only = read_only
        self._folder = folder
        self._until = until

    @property
    def live(self) -> bool:
        """See RunClient; as far as the files show."""
        return self.snapshot.state.is_live

    async def events(self) -> AsyncIterator[Event | Snapshot]:
        """See RunClient: lines as they are written, and a snapshot whenever the run's status changes."""
        tail = RunTail(self._folder, after=self.snapshot.state.seq)
        while self.live:
            await asyncio.sleep(POLL_SECONDS)
            try:
                record = await patient_record(self._folder)
                events = await asyncio.to_thread(list, tail.read())
            except UnreachableError:  # its disk comes back, or the user leaves
                continue
            except OSError as error:
                if not is_away(error):
                    raise
                continue
            for event in events:
                yield event
            if record.status != self.snapshot.state.status:
                self.snapshot = await patient_snapshot(self._folder)
                tail = RunTail(self._folder, after=self.snapshot.state.seq)
                yield self.snapshot
            if self._until(record):
                return

    async def send(self, command: Command) -> CommandApplied:
        """See RunClient; always raises RunError."""
        reason = self.read_only or f"the run is {self.snapshot.state.status}"
        raise RunError(f"{command.type} cannot be sent: {reason}")


class RunTail:
    """Reads metrics.jsonl and journal.jsonl while they are being written, each line once and as one event."""

    def __init__(self, folder: RunFolder, after: int = 0) -> None:
        self._after = after
        self._metrics = _FileTail(folder.metrics_file, after)
        self._journal = _FileTail(folder.journal_file, after)

    def read(self, until: int | None = None) -> Iterator[Event]:
        """Yield what was written since the last call, up to the sequence number `until`, in order.

        The iterator must be exhausted before the next call.
        """
        lines = merge(
            ((line, False) for line in self._metrics.read(until)),
            ((line, True) for line in self._journal.read(until)),
            key=lambda pair: seq_of(pair[0]),
        )
        for line, is_change in lines:
            if line["seq"] > self._after:
                yield from read_changes([line]) if is_change else read_events([line], split=0)


class _FileTail:
    """The complete lines of one file, from where the last reading ended; few of them before `after`."""

    def __init__(self, path: Path, after: int) -> None:
        self._path = path
        self._after = after
        self._offset: int | None = None

    def read(self, until: int | None) -> Iterator[dict[str, Any]]:
        try:
            file = open_lines(self._path)
        except FileNotFoundError:
            return
        with file:
            if self._offset is None:
                self._offset = offset_after(file, self._after)
            file.seek(self._offset)
            while line := file.readline(LINE_BYTES):
                found = parse_line(line)
                if not line.endswith(b"\n"):
                    if not skip_line(file):  # it is still being written
                        return
                elif found and until is not None and seq_of(found) > until:
                    return
                self._offset = file.tell()
                if found and seq_of(found) >= 0:
                    yield found
