"""A loader process: what it does first, and what it may have died of."""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from torchconsole.engine.components.data.shared_memory import FULL

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: the signal that a process gets when the thread that forked it ends."""

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""What ctrl+c, Slurm or systemd send to all processes at once is for the training process to act on."""

_KILLED = re.compile(r"DataLoader worker \(pid (\d+)\) is killed by signal: ([^.]*)")
_GONE = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) exited unexpectedly")
_CAUSES = {
    signal.SIGKILL: "most often by the kernel, because memory had run out; lower data.num_workers",
    signal.SIGBUS: FULL,
    signal.SIGSEGV: "native code crashed, the data set's or a library's; data.num_workers = 0 shows where",
    signal.SIGABRT: "native code gave up, the data set's or a library's; data.num_workers = 0 shows where",
}


@contextmanager
def held_signals() -> Iterator[None]:
    """Loader processes started inside are sent none of these signals before `prepare_worker`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_worker(parent: int, worker_id: int) -> None:
    """Die with process `parent`, and of nothing that is meant for it."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It ended before the line above: nobody would send that signal any more.
        os._exit(1)


def loader_fault(error: BaseException) -> str | None:
    """What torch's RuntimeError about a loader process means; None where it is about something else.

    torch raises it wherever the training thread is at the moment, not where it waits for the data.
    """
    text = "\n".join(_told(error))
    if killed := _KILLED.search(text):
        name, cause = _named(killed[2].strip())
        return f"data: a loader process (pid {killed[1]}) was killed by {name}: {cause}"
    if gone := _GONE.search(text):
        return f"data: a loader process (pid {gone[1]}) ended by itself; its last words are in the log"
    if "DataLoader timed out after" in text:
        return (
            "data: no batch came within data.loader_timeout: a loader process hangs, or reads more slowly; "
            "data.num_workers = 0 shows where"
        )
    return None


def _told(error: BaseException | None) -> Iterator[str]:
    """Its message and those of what it was raised from: the signal may be named in any of them."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def _named(description: str) -> tuple[str, str]:
    """Name and cause of the signal that the C library describes so: `Bus error`."""
    for number in signal.Signals:
        if signal.strsignal(number) == description:
            return number.name, _CAUSES.get(number, "by somebody; the training cannot go on without it")
    return description, "the log may say more"
