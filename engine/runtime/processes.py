"""Facts that tell one process from another, now and after a reboot."""

from __future__ import annotations

from pathlib import Path


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
