"""Files of JSON lines: appended a complete line at a time, and read back without an incomplete last one."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from torchconsole.engine.files import open_own, open_regular

PENDING_LINES = 100_000
"""Lines kept in memory while they cannot be written."""

BLOCK_BYTES = 256 * 1024
"""Size of one read from a file."""

LINE_BYTES = 4 << 20
"""Longest line that is read; a logged step with 1,000 metrics has a hundredth. Longer ones are skipped."""

SPARSE_BYTES = 1 << 30
"""Size from which on a file that consists of holes is refused: a file of lines has none."""

MOST_HOLES = 100
"""A file this many times as large as what it takes on the disk consists of holes. Compression has a tenth."""

LARGEST_SEQ = 2**53


class JsonLines:
    """Appends lines to a file. Only `flush` accesses the disk; it keeps what it cannot write.

    A file that was removed or replaced since the last flush is made again: lines are never written to a file
    that nobody can find.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._size = 0
        self._pending: deque[bytes] = deque(maxlen=PENDING_LINES)
        self._dropped = 0
        self._is_cut = False

    def append(self, line: bytes) -> None:
        """Add one line, without its newline, for the next flush."""
        self._dropped += len(self._pending) == PENDING_LINES
        self._pending.append(line)

    def move_to(self, path: Path) -> None:
        """Append to `path` from now on, the same file under another name or another file."""
        self._path = path

    def flush(self) -> int:
        """Write all lines added so far. Return how many were dropped since the last successful flush.

        Raises OSError; the file then still ends with a complete line, and the lines wait for the next flush.
        """
        if self._pending:
            self._write(b"\n".join(self._pending) + b"\n")
            self._pending.clear()
        dropped, self._dropped = self._dropped, 0
        return dropped

    def is_cut(self) -> bool:
        """Return, once, whether the file was removed since the last call, and begins anew."""
        is_cut, self._is_cut = self._is_cut, False
        return is_cut

    def close(self) -> None:
        """Close the file. Lines that were not flushed are lost."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, data: bytes) -> None:
        descriptor = self._open()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            os.ftruncate(descriptor, self._size)
            raise
        self._size += len(data)

    def _open(self) -> int:
        if self._descriptor is not None and not self._is_in_place(self._descriptor):
            self.close()
            self._is_cut = self._size > 0
        if self._descriptor is None:
            self._descriptor = open_own(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            self._size = _end_of_last_line(self._descriptor)
            self._is_cut = self._is_cut and not self._size
            os.ftruncate(self._descriptor, self._size)
        return self._descriptor

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False


def read_json_lines(
    path: Path, after: int = 0, progress: Callable[[float], object] = lambda _: None
) -> Iterator[dict[str, Any]]:
    """Yield the objects in a file of JSON lines; none if there is no file.

    With `after`, only those with a greater `seq`; the lines must be sorted by it. A line that is not a
    complete JSON object is skipped: a killed worker leaves an incomplete last one, a power failure may leave
    zeros. `progress` is called with the fraction that has been read, from 0 to 1. Raises OSError.
    """
    try:
        file = open_lines(path)
    except FileNotFoundError:
        return
    with file:
        size = os.fstat(file.fileno()).st_size
        start = file.seek(offset_after(file, after))
        for lines in _blocks(file):
            for found in _parse(lines):
                if not after or seq_of(found) > after:
                    yield found
            progress(min(1.0, (file.tell() - start) / (size - start or 1)))


def open_lines(path: Path) -> BinaryIO:
    """Open a file of JSON lines that anybody may have written. Raises OSError."""
    file = open_regular(path)
    found = os.fstat(file.fileno())
    if found.st_size > SPARSE_BYTES and found.st_blocks * 512 * MOST_HOLES < found.st_size:
        file.close()
        raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, almost all of them in holes")
    return file


def offset_after(file: BinaryIO, seq: int) -> int:
    """Find by bisection the start of a line close before the first line with a `seq` greater than this one.

    The lines must be sorted by `seq`.
    """
    low, high = 0, file.seek(0, os.SEEK_END) if seq else 0
    while high - low > BLOCK_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        skip_line(file)
        start = file.tell()
        found = _first_seq(file, high)
        if found is None or found > seq:
            high = middle
        else:
            low = start
    return low


def skip_line(file: BinaryIO) -> bool:
    """Read up to the end of the line; False if the file ends before."""
    while piece := file.readline(BLOCK_BYTES):
        if piece.endswith(b"\n"):
            return True
    return False


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Parse one line; None if it is incomplete or not a JSON object."""
    try:
        found = from_json(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def seq_of(line: Mapping[str, Any]) -> int:
    """Return the sequence number of a line; -1 if it has none."""
    seq = line.get("seq")
    return seq if type(seq) is int and 0 <= seq <= LARGEST_SEQ else -1


def _first_seq(file: BinaryIO, end: int) -> int | None:
    """Return the sequence number of the first line that has one and starts before the offset `end`."""
    while file.tell() < end and (line := file.readline(LINE_BYTES)):
        if (found := parse_line(line)) and seq_of(found) >= 0:
            return seq_of(found)
    return None


def _blocks(file: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the complete lines, without their newlines, of one block after another."""
    rest = b""
    while block := file.read(BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield lines
        if len(rest) > LINE_BYTES:
            rest = b""
            skip_line(file)


def _parse(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    """Parse complete lines: all at once if each is valid, which is twice as fast."""
    try:
        found = from_json(b"[%b]" % b",".join(lines))
    except ValueError:
        found = []
    if len(found) != len(lines):
        found = (parse_line(line + b"\n") for line in lines)
    return (line for line in found if line and isinstance(line, dict))


def _end_of_last_line(descriptor: int) -> int:
    """Return the offset after the last newline; an incomplete line may follow it."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
