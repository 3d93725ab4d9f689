"""Reads the lines of metrics.jsonl and journal.jsonl while they are being written, each of them once."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from pathlib import Path
from typing import Any

from torchconsole.engine.protocol.events import Event
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.jsonl import offset_after, parse_line
from torchconsole.engine.run.metrics_format import read_changes, read_events


class RunTail:
    """What the files of a run tell, from a sequence number on; each line is an event of its own."""

    def __init__(self, folder: RunFolder, after: int = 0) -> None:
        self._after = after
        self._metrics = _Tail(folder.metrics_file, after)
        self._journal = _Tail(folder.journal_file, after)

    def read(self, until: int | None = None) -> Iterator[Event]:
        """What was written since the last time, up to the number `until`, in order. To be read to its end."""
        lines = merge(
            ((line, False) for line in self._metrics.read(until)),
            ((line, True) for line in self._journal.read(until)),
            key=lambda pair: int(pair[0]["seq"]),
        )
        for line, journaled in lines:
            if line["seq"] > self._after:
                yield from read_changes([line]) if journaled else read_events([line], split=0)


class _Tail:
    """The whole lines of one file, from where the last reading ended; few before the number `after`."""

    def __init__(self, path: Path, after: int) -> None:
        self._path = path
        self._after = after
        self._offset: int | None = None

    def read(self, until: int | None) -> Iterator[dict[str, Any]]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            if self._offset is None:
                self._offset = offset_after(file, self._after)
            file.seek(self._offset)
            for line in file:
                found = parse_line(line)
                if not line.endswith(b"\n") or (found and until is not None and found["seq"] > until):
                    return
                self._offset += len(line)
                if found:
                    yield found
