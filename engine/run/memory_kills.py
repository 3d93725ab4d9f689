"""Whether the kernel has killed a process for lack of memory, by counters that were read before it ran.

A process that is killed so gets SIGKILL and cannot say anything itself. The kernel counts such kills for each
cgroup (memory.events or, in version 1, memory.oom_control) and for the machine (/proc/vmstat).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from torchconsole.engine.run import cgroups
from torchconsole.engine.run.liveness import exit_reason
from torchconsole.engine.text import mebibytes

MACHINE = Path("/proc/vmstat")

REMEDY = "lower data.batch_size or data.num_workers, or set data.in_memory = false"

KILLS = "oom_kill"
"""The key of the line that counts kills."""

AT_LIMIT = " at limit"
"""Follows the file of a cgroup's kills in the name of another counter: how often it has reached its limit."""

MOST_BYTES = 1 << 16
"""Size of a counter's file; /proc/vmstat has 4 KiB."""


def read_counters() -> dict[str, int]:
    """Return how many processes were killed until now, by the file that counts them.

    The first is that of this process's cgroup, if it has one; its children are in the same. With it comes how
    often the cgroup has reached its memory limit, named by the file and `AT_LIMIT`.
    """
    found: dict[str, int | None] = {}
    if (own := cgroups.kill_counter()) is not None:
        found = {str(own): _read(own), f"{own}{AT_LIMIT}": _read(*cgroups.limit_counter(own))}
    found[str(MACHINE)] = _read(MACHINE)
    return {name: count for name, count in found.items() if count is not None}


def explain_kill(before: Mapping[str, int]) -> str | None:
    """Return why a worker was killed and what to change; None if that was not for lack of memory.

    The text continues `the worker`. A cgroup that is still there knows it; that of a batch job that has ended
    is gone, and then the machine's counter is a hint.
    """
    for file, count in before.items():
        now = _read_trusted(file)
        if now is None:
            continue
        if now <= count:
            return None
        return f"{_cause(Path(file), before.get(f'{file}{AT_LIMIT}'))}; {REMEDY}"
    return None


def describe_exit(status: int, before: Mapping[str, int]) -> str:
    """Describe how a process ended (see `exit_reason`), and for SIGKILL why, as far as the counters know."""
    text = exit_reason(status)
    if status != -signal.SIGKILL:
        return text
    return f"{text}: it {explain_kill(before) or f'may have run out of memory; {REMEDY}'}"


def _cause(counter: Path, at_limit: int | None) -> str:
    if counter == MACHINE:
        return (
            "exited unexpectedly, possibly because memory ran out: the kernel has killed a process for lack "
            "of memory since the run began"
        )
    # The cgroup counts all kills of its processes, also those for lack of memory elsewhere.
    limit, reached = cgroups.memory_limit(counter), _read(*cgroups.limit_counter(counter))
    if limit and at_limit is not None and reached is not None and reached > at_limit:
        return f"was killed by the kernel because its cgroup reached its memory limit of {mebibytes(limit)}"
    return "was killed by the kernel because the machine, or an enclosing cgroup, ran out of memory"


def _read_trusted(file: str) -> int | None:
    """Read a counter that a record names: anybody may have written it, so it must be one of the kernel's."""
    path = Path(os.path.normpath(file))
    is_counter = path == MACHINE or (
        path.is_relative_to(cgroups.MOUNT) and path.name in ("memory.events", "memory.oom_control")
    )
    return _read(path) if is_counter else None


def _read(file: Path, key: str = KILLS) -> int | None:
    """Read the number in the line that begins with `key`, or the only one of a file without keys."""
    try:
        with file.open("rb") as opened:
            lines = opened.read(MOST_BYTES).splitlines()
    except (OSError, ValueError):  # no file can have the name that a record holds
        return None
    start = f"{key} ".encode() if key else b""
    counts = (line.removeprefix(start).strip() for line in lines if line.startswith(start))
    return next((int(count) for count in counts if count.isdigit()), None)
