"""A new run that is refused before its first step: its worker removes it, and reports why to its launcher.

The worker removes the run, not the launcher, because the launcher may end first.
"""

from __future__ import annotations

import os
import sys
import weakref
from contextlib import suppress

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.deletion import remove_refused
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock

END = b"\0"
ANYWAY = b"\1"
"""Begins a reason that the user may overrule."""

MAX_BYTES = 32 << 10
"""Fits into an empty pipe, so that writing never waits for the reader."""


class RefusalPipe:
    """Carries the reason from the worker to the launcher, where it outlives the run's folder."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        weakref.finalize(self, os.close, self._reader)
        self._received = b""
        self.can_start_anyway = False
        """Whether the user may overrule the reason; known once `read` has returned it."""

    def close_writer(self) -> None:
        """Close our copy of the worker's end, once the worker has its own."""
        os.close(self.writer)

    def read(self) -> str | None:
        """Return the reason, or None if there is none (yet). Never waits."""
        with suppress(BlockingIOError):
            while chunk := os.read(self._reader, MAX_BYTES):
                self._received += chunk
        if not self._received.endswith(END):
            return None
        self.can_start_anyway = self._received.startswith(ANYWAY)
        return self._received.removeprefix(ANYWAY).removesuffix(END).decode(errors="replace")


def withdraw(
    folder: RunFolder, reason: str, lock: WorkerLock, writer: int, *, can_start_anyway: bool
) -> None:
    """Report the reason to the launcher, then remove the run. For its worker, as the last thing it does."""
    report_reason(reason, writer, can_start_anyway=can_start_anyway)
    # On NFS a folder cannot be removed while a file in it is open.
    _close_log()
    with suppress(RunError):  # what is left is listed as such
        remove_refused(folder, lock)


def report_reason(reason: str, writer: int, *, can_start_anyway: bool = False) -> None:
    """Write the reason to the worker's end of the pipe. The launcher may have ended."""
    text = reason.encode(errors="replace")[:MAX_BYTES].replace(END, b"")
    with suppress(OSError):
        os.write(writer, (ANYWAY if can_start_anyway else b"") + text + END)


def _close_log() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    devnull = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(devnull, descriptor)
    os.close(devnull)
