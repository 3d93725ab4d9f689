"""Gives a program a terminal: `python -P -m torchconsole.engine.worker.relay FOLDER [OPTIONS]`.

Starts the worker on a pseudo-terminal, so that progress bars and terminal sizes work as usual, and writes
what comes out to standard output, which is worker.log; of a line that is drawn again and again, its last
state. It outlives the worker, so that nothing is lost, and says how the worker ended if it could not. With
the option --processes=N, it starts the parent of N processes instead, the first of which is the worker.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import HANDLED_SIGNALS, STOP_SIGNALS
from torchconsole.engine.run.process_signals import handle, ignore

WORKER = "torchconsole.engine.worker.main"
PARENT = "torchconsole.engine.worker.parent"

ROWS, COLUMNS = 40, 120
CHUNK = 1 << 16
REDRAWN_SECONDS = 5.0
"""After this time, a line that is still being drawn is written as it is now."""

MOST_LINE = 1 << 16
"""Bytes; a longer line is written in pieces."""


def main(arguments: list[str]) -> int:
    """Run the worker; return its exit status."""
    ignore(signal.SIGHUP)
    master, slave = os.openpty()
    prepare(slave)
    # The signals that the launcher has blocked stay so in the worker, until it is ready for them.
    has_parent = any(word.startswith("--processes=") for word in arguments)
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", PARENT if has_parent else WORKER, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        pass_fds=_inherited(arguments),
    )
    os.close(slave)
    for descriptor in _inherited(arguments):
        os.close(descriptor)
    for number in (*STOP_SIGNALS, signal.SIGUSR1):
        handle(number, lambda number, _: worker.send_signal(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
    copy(master, 1)
    status = worker.wait()
    if not has_parent:  # it has reported the end itself
        _report_end(Path(arguments[0]), worker.pid, status)
    return status if status >= 0 else 128 - status


def copy(source: int, target: int) -> None:
    """Copy lines until the end of `source`, with what is drawn over left out."""
    rest = b""
    drawn = time.monotonic()
    while True:
        had_rest = bool(rest)
        ready, _, _ = select.select([source], [], [], REDRAWN_SECONDS)
        data = b""
        if ready:
            try:
                data = os.read(source, CHUNK)
            except OSError:  # EIO: the last process has closed the terminal
                break
            if not data:
                break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            _write(target, _folded(line) + b"\n")
        now = time.monotonic()
        if lines or not had_rest:
            drawn = now
        if rest and now - drawn >= REDRAWN_SECONDS:
            drawn = now
            if shown := _folded(rest).strip():
                _write(target, shown + b"\n")
            rest = b"\r" if b"\r" in rest else b""
        if len(rest) > MOST_LINE and b"\r" in rest:
            rest = b"\r" + _folded(rest)
        if len(rest) > MOST_LINE:
            _write(target, _folded(rest) + b"\n")
            rest = b""
    if _folded(rest):
        _write(target, _folded(rest) + b"\n")


def _folded(line: bytes) -> bytes:
    """Return the last state of a line: a carriage return goes to its begin."""
    parts = [part for part in line.split(b"\r") if part]
    return parts[-1] if parts else b""


def _write(target: int, data: bytes) -> None:
    """Write all of it; what a full disk or a missing one does not take is lost."""
    with suppress(OSError):
        while data:
            data = data[os.write(target, data) :]


def prepare(terminal: int) -> None:
    """Give the terminal a size, have it pass on what is printed unchanged, and end what is read at once."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST
    attributes[3] &= ~(termios.ECHO | termios.ICANON)
    attributes[6][termios.VMIN] = attributes[6][termios.VTIME] = 0
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


def _inherited(arguments: list[str]) -> list[int]:
    """Return the file descriptors that the launcher passes on to the worker."""
    return [int(text.removeprefix("--new=")) for text in arguments if text.startswith("--new=")]


def _report_end(path: Path, pid: int, status: int) -> None:
    """Write how the program ended if the worker could not: it was killed, or called os._exit."""
    folder = RunFolder(path)
    try:
        record = folder.load_record()
    except RunError:
        return
    if not record.is_live or record.pid not in (None, pid):
        return
    if status < 0:
        return  # the cause is found by those who read the record
    reason = describe_immediate_exit(status)
    with suppress(OSError):
        folder.write_record(replace(record, status="finished" if status == 0 else "failed", reason=reason))


def describe_immediate_exit(status: int) -> str:
    """Say how a program ended that has skipped the end of the worker."""
    return f"the program ended itself by os._exit, with exit status {status}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
