"""The memory of this process on the host: its peak, and a limit that makes an overrun an error of torch."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torchconsole.engine.components.data.memory_budget import PROCESS_STATUS, free_host_memory

PEAK_RESET = Path("/proc/self/clear_refs")
"""A 5 written to this file sets the peak to what the process has now; see proc_pid_clear_refs(5)."""

SHARE = 0.8
"""Part of the free memory that may be used: others on the machine need some, and so does the file cache."""


@contextmanager
def limited_memory(processes: int = 1) -> Iterator[int]:
    """Let this process take at most SHARE of the free memory; yield the most it may then have (bytes).

    Of several `processes` on the machine, each has an equal part of that.

    An allocation beyond it fails, as on a GPU, before the kernel has to kill a process for it.
    """
    more = int(SHARE * free_host_memory() / processes)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _status("VmData") + more
    if soft == resource.RLIM_INFINITY or limit < soft:
        with suppress(OSError, ValueError):  # a sandbox forbids it; what is predicted still limits the search
            resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield _status("VmRSS") + more
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def reset_peak() -> None:
    """Measure the peak from now on; where the system does not allow it, `peak` is that since the start."""
    with suppress(OSError):
        PEAK_RESET.write_text("5")


def peak() -> int:
    """Return the largest resident memory of this process (bytes)."""
    return _status("VmHWM")


def _status(key: str) -> int:
    """Return a number of bytes from the process's status."""
    for line in PROCESS_STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    return 0
