"""Facts about processes: which is which, now and after a reboot, and how one ended."""

from __future__ import annotations

import signal
from pathlib import Path

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
"""Signals that end a run."""

HANDLED_SIGNALS = STOP_SIGNALS | {signal.SIGUSR1}
"""Signals that a worker handles. The launcher blocks them, so that one sent before the handlers are installed
is delivered once they are."""


def boot_id() -> str:
    """The kernel's name for the time since the last boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process; None when it is gone, or a zombie nobody reaped yet.

    A pid is given out again after a while; together with its start it names one process for good.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def exit_reason(status: int) -> str:
    """How a process ended, as `killed by SIGKILL`; `status` is subprocess's: minus the signal's number."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
