"""Runs programs in a pseudo-terminal. Their output is only counted, so no emulator takes CPU time."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

PROGRAM = str(Path(sys.executable).with_name("torchconsole"))
COLUMNS, ROWS = 120, 40
DEADLINE = 60.0


def open_terminal(size: tuple[int, int] = (COLUMNS, ROWS)) -> tuple[int, int]:
    """Open a pseudo-terminal of columns x rows; returns the terminal's end and the program's."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    return ours, theirs


class Terminal:
    """A program in its own terminal; a context manager that kills it on exit.

    `rate` is how many bytes of its output are read per second, as over a slow line.
    """

    def __init__(
        self, command: Sequence[str], size: tuple[int, int] = (COLUMNS, ROWS), rate: int | None = None
    ) -> None:
        self.bytes = 0
        self._rate = rate
        self._end, theirs = open_terminal(size)
        self._start = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._end)

    def read(self, seconds: float) -> Iterator[bytes]:
        """Yield the program's output for `seconds`. Raises RuntimeError if the program exits."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self._end], [], [], left)[0]:
                try:
                    piece = os.read(self._end, self._rate // 50 if self._rate else 1 << 16)
                except OSError as error:
                    raise RuntimeError(f"the program exited with status {self._process.wait()}") from error
                self.bytes += len(piece)
                if self._rate:
                    time.sleep(len(piece) / self._rate)
                yield piece

    def press(self, keys: bytes) -> None:
        """Send keys as a terminal does."""
        os.write(self._end, keys)

    def watch(self, seconds: float) -> None:
        """Let the program run for `seconds`, reading its output."""
        for _ in self.read(seconds):
            pass

    def wait_for(self, word: bytes) -> float:
        """Read until `word` is printed; returns the seconds since the start. Raises TimeoutError."""
        written = b""
        for piece in self.read(DEADLINE):
            written += piece
            if word in written:
                return time.perf_counter() - self._start
        raise TimeoutError(f"{word!r} did not appear within {DEADLINE:g} s")

    def cpu_seconds(self) -> float:
        """User and system time of the program and its children so far, in seconds."""
        process = psutil.Process(self._process.pid)
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        return float(sum(one.user + one.system for one in times))


@contextmanager
def temporary_home() -> Iterator[str]:
    """A temporary folder for runs, sockets and settings, used by this process and its children.

    SIGTERM unwinds the context like an exception, so that no run is left behind.
    """
    saved = dict(os.environ)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as home:
        folders = {f"XDG_{name}_HOME": f"{home}/{name.lower()}" for name in ("STATE", "CONFIG", "CACHE")}
        os.environ.update(folders, TORCHCONSOLE_SOCKETS=home, TERM="xterm-256color", LANG="C.UTF-8")
        # A console that detects an SSH connection sends less.
        os.environ.pop("SSH_CONNECTION", None)
        try:
            yield home
        finally:
            os.environ.clear()
            os.environ.update(saved)
