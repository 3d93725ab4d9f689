"""Whether a process is suspended: it is alive and does nothing until somebody continues it."""

from __future__ import annotations

from pathlib import Path

from torchconsole.engine.run.liveness import start_ticks

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

_STATES = {"T": "SIGSTOP", "t": "debugger"}
"""By the state in /proc/PID/stat, see proc(5): what has stopped the process."""


def suspension(pid: int | None, start: int | None = None) -> str:
    """Return what suspends a process: `SIGSTOP`, `debugger` or `freezer` (its cgroup); empty if nothing does.

    With `start`, as of `start_ticks`, another process that has got the same pid does not count.
    """
    if pid is None:
        return ""
    try:
        if start is not None and start_ticks(pid) != start:
            return ""
        stat = (PROC / str(pid) / "stat").read_bytes()
        state = stat.rpartition(b")")[2].split()[0].decode("ascii")
        return _STATES.get(state) or ("freezer" if _is_frozen(pid) else "")
    except (OSError, IndexError, ValueError):  # it has ended
        return ""


def how_to_continue(cause: str, pid: int | None) -> str:
    """Return what continues a process that `suspension` has found suspended."""
    if cause == "freezer":
        return "its cgroup is frozen, by its container or batch system; thaw it there"
    if cause == "debugger":
        return "a debugger has stopped it; let it continue there"
    return f"continue it with `kill -CONT {pid}`"


def _is_frozen(pid: int) -> bool:
    """Whether the process's cgroup is frozen, in version 1 or 2. See cgroup-v1/freezer-subsystem.rst."""
    for line in (PROC / str(pid) / "cgroup").read_text(errors="replace").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers and _reads(CGROUPS / path.lstrip("/") / "cgroup.events", "frozen 1"):
            return True
        if "freezer" in controllers.split(",") and _reads(
            CGROUPS / "freezer" / path.lstrip("/") / "freezer.state", "FROZEN"
        ):
            return True
    return False


def _reads(file: Path, line: str) -> bool:
    try:
        return line in file.read_text().splitlines()
    except OSError:
        return False
