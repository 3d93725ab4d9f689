"""A data loader worker process: how it starts, what it needs, and why it may have died."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torchconsole.engine.text import mebibytes

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: the signal that a process receives when the thread that forked it ends."""

IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl+C, Slurm and systemd send these to all processes at once; only the training process acts on them."""

SHARED_MEMORY = Path("/dev/shm")
"""Workers pass their batches to the training process through this file system."""

SHARED_MEMORY_ADVICE = "enlarge it (docker run --shm-size=8g), or lower data.num_workers or data.batch_size"
SHARED_MEMORY_FULL = f"shared memory ({SHARED_MEMORY}) is full; {SHARED_MEMORY_ADVICE}"

PREFETCH_FACTOR = 2
"""Batches that each worker prepares ahead: torch's default."""

_KILLED = re.compile(r"DataLoader worker \(pid (\d+)\) is killed by signal: ([^.]*)")
_EXITED = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) exited unexpectedly")
_TIMED_OUT = "DataLoader timed out after"

_CRASHED = "native code of the dataset or a library crashed; debug with data.num_workers = 0"
_CAUSES = {
    signal.SIGKILL: "probably by the kernel, because memory ran out; lower data.num_workers",
    signal.SIGBUS: SHARED_MEMORY_FULL,
    signal.SIGSEGV: _CRASHED,
    signal.SIGABRT: _CRASHED,
}


@contextmanager
def held_signals() -> Iterator[None]:
    """Block these signals while workers start: each inherits the mask until its `prepare_worker` runs."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_worker(parent: int, worker_id: int) -> None:
    """Make this worker end with process `parent` and ignore the signals that are meant for `parent`."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED_SIGNALS)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent ended before the call above, so no signal will come.
        os._exit(1)


def shared_memory_warning(batch_bytes: int, num_workers: int) -> str | None:
    """Return a warning if the prefetched batches may not fit into shared memory, else None.

    `batch_bytes` is the size of the largest batch.
    """
    needed = batch_bytes * (PREFETCH_FACTOR * num_workers + 1)
    if not num_workers or not SHARED_MEMORY.is_dir():
        return None
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed <= free:
        return None
    return (
        f"{num_workers} data loader workers may need {mebibytes(needed)} of shared memory, but "
        f"{SHARED_MEMORY} has {mebibytes(free)} free: {SHARED_MEMORY_ADVICE}"
    )


def explain_loader_error(error: BaseException) -> str | None:
    """Explain torch's RuntimeError about a data loader worker; None if the error is about something else.

    torch raises it wherever the training thread happens to be, not only where it waits for data.
    """
    text = "\n".join(_messages(error))
    if killed := _KILLED.search(text):
        name, cause = _signal_cause(killed[2].strip())
        return f"data: a data loader worker (pid {killed[1]}) was killed by {name}: {cause}"
    if exited := _EXITED.search(text):
        return f"data: a data loader worker (pid {exited[1]}) exited unexpectedly; see worker.log"
    if _TIMED_OUT in text:
        return (
            "data: no batch arrived within data.loader_timeout: a data loader worker hangs or is too slow: "
            "raise data.loader_timeout, or debug with data.num_workers = 0"
        )
    return None


def _messages(error: BaseException | None) -> Iterator[str]:
    """Yield the messages of an error and of the errors that caused it: any of them may name the signal."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def _signal_cause(description: str) -> tuple[str, str]:
    """Return the name and the likely cause of the signal that the C library calls, say, `Bus error`."""
    for number in signal.Signals:
        if signal.strsignal(number) == description:
            return number.name, _CAUSES.get(number, "another process sent it; the run cannot continue")
    return description, "see worker.log"
