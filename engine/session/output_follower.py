"""Makes events of what the training prints, read back from worker.log.

Reading the file finds what every part of a program prints: Python, native code, data loader workers. What
the worker itself has logged is in there too; it has been reported as events already, and is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from torchconsole.engine.protocol.events import LogWritten
from torchconsole.engine.run.line_formats import plain_text, printed_lines

STANDARD_OUTPUT = Path("/proc/self/fd/1")
"""The file that standard output goes to now."""

CHUNK = 1 << 16
"""Most bytes that one poll reads. A program that prints faster is followed in part."""

MOST_CHUNKS = 4
"""Of more that is unread, all but the last chunk is skipped."""

MOST_LINES = 50
"""Most lines that one poll reports, the last ones."""

MOST_CHARACTERS = 1000
"""Longest line that is reported in full."""


class OutputFollower:
    """Reports each new line of a file, from its present end on; does nothing if it is not a regular file."""

    def __init__(self, emit: Callable[[LogWritten], None], file: Path) -> None:
        self._emit = emit
        self._path = file
        self._descriptor: int | None = None
        self._rest = b""
        self._after_logged = False
        self._open(os.SEEK_END)

    def poll(self) -> None:
        """Report what has been written since the last call."""
        if self._has_moved():
            self._open(os.SEEK_SET)
        if self._descriptor is None:
            return
        if skipped := self._skip_backlog():
            self._emit_line(f"... {skipped / 1e6:,.1f} MB left out; all of it is in worker.log")
        *lines, self._rest = (self._rest + os.read(self._descriptor, CHUNK)).split(b"\n")
        if len(self._rest) > CHUNK:
            lines, self._rest = [*lines, self._rest], b""
        self._report(lines)

    def close(self) -> None:
        """Report the rest, and close the file."""
        for _ in range(MOST_CHUNKS):
            self.poll()
        self._report([self._rest])
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _report(self, lines: Sequence[bytes]) -> None:
        texts = [final_text(line.decode(errors="replace")) for line in lines]
        printed, self._after_logged = printed_lines(texts, after_logged=self._after_logged)
        if len(printed) > MOST_LINES:
            self._emit_line(f"... {len(printed) - MOST_LINES:,} lines left out; all are in worker.log")
        for text in printed[-MOST_LINES:]:
            self._emit_line(text[:MOST_CHARACTERS])

    def _emit_line(self, text: str) -> None:
        if text.strip():
            self._emit(LogWritten(level="output", message=text))

    def _skip_backlog(self) -> int:
        """Skip all but the last CHUNK of what is unread; return the number of bytes skipped."""
        assert self._descriptor is not None
        position = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        behind = os.fstat(self._descriptor).st_size - position
        if behind <= MOST_CHUNKS * CHUNK:
            return 0
        self._rest = b""
        os.lseek(self._descriptor, -CHUNK, os.SEEK_END)
        return behind - CHUNK

    def _has_moved(self) -> bool:
        """Whether the output goes to another file now: the run's folder is gone, or back."""
        with suppress(OSError):
            now = self._path.stat()
            return self._descriptor is None or not os.path.samestat(now, os.fstat(self._descriptor))
        return False

    def _open(self, whence: int) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        with suppress(OSError):
            if self._path.is_file():
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                os.lseek(self._descriptor, 0, whence)


def final_text(line: str) -> str:
    """Return what a terminal shows last of a line that is drawn again and again, as progress bars are.

    A carriage return goes to the begin of the line, whose text is overwritten.
    """
    parts = [part for part in line.split("\r") if part]
    return plain_text(parts[-1]) if parts else ""
