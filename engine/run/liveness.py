"""Whether a run has a worker: the lock that every worker holds for its whole life.

The lock is POSIX's (`fcntl.lockf`): the kernel drops it when the worker ends in whatever way, and a forked
loader worker does not inherit it. Its one trap: the holder loses it as soon as it closes *any* descriptor of
that file. So nothing here opens the file in the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.processes import boot_id, start_ticks

_FLOCK = struct.Struct("hhqqi4x")  # Linux's struct flock: type, whence, start, len, pid

_FileId = tuple[int, int]
_held: dict[_FileId, int] = {}
"""Locks taken here, with the process that took them: a forked child inherits this table, not the locks."""


class WorkerLock:
    """A run's lock. The worker takes it before anything else and keeps it until it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._id: _FileId | None = None

    def acquire(self) -> None:
        """Take the lock. Raises RunError when a worker has it already, this process included."""
        if (holder := lock_holder(self._path)) is not None:
            raise RunError(f"{self._path.parent.name}: a worker is at this run already (pid {holder})")
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise RunError(
                f"{self._path}: another worker has just taken this run ({error.strerror})"
            ) from error
        found = os.fstat(descriptor)
        self._descriptor, self._id = descriptor, (found.st_dev, found.st_ino)
        _held[self._id] = os.getpid()

    def release(self) -> None:
        """Give the lock back before the process ends."""
        if self._descriptor is not None and self._id is not None:
            os.close(self._descriptor)
            del _held[self._id]
            self._descriptor = self._id = None


def lock_holder(path: Path) -> int | None:
    """The pid of the process that holds the lock, None when nobody does. Never takes the lock.

    The pid is 0 for a holder in another pid namespace (a container).
    """
    if holds_lock(path):
        return os.getpid()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else pid


def holds_lock(path: Path) -> bool:
    """Whether this very process holds the lock."""
    identity = _file_id(path)
    return identity is not None and _held.get(identity) == os.getpid()


def note_launch(path: Path, pid: int) -> None:
    """Say in its lock file which process was just launched: it has not had the time to take the lock.

    The pid alone would not do: it may be given out again, and so may its start after a reboot.
    """
    path.write_text(f"{pid} {start_ticks(pid) or 0} {boot_id()}\n", encoding="ascii")


def forget_launch(path: Path) -> None:
    """Before another launch: the worker of the last one is no witness any more. For a lock nobody holds."""
    path.write_text("", encoding="ascii")


def launch_is_over(path: Path) -> bool:
    """Whether the worker launched last is known to be gone. For a lock that nobody holds."""
    try:
        launched = path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return False
    if len(launched) != len(("pid", "start", "boot")):
        return False
    pid, start, boot = launched
    return boot != boot_id() or start_ticks(int(pid)) != int(start)


def _file_id(path: Path) -> _FileId | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
