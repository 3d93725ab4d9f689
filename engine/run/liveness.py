"""Whether a run has a worker: the lock that a worker holds for its whole life, and facts about processes.

The lock is a POSIX lock (`fcntl.lockf`): the kernel drops it however the worker ends, and a forked data
loader worker does not inherit it. Its one trap: the holder loses the lock as soon as it closes *any*
descriptor of that file. So nothing here opens the file in the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import open_own, open_regular, read_regular

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
"""Signals that end a run."""

HANDLED_SIGNALS = STOP_SIGNALS | {signal.SIGUSR1}
"""Signals that a worker handles. The launcher blocks them, so that one sent before the handlers are installed
is delivered once they are."""

LOCK_MODE = 0o600

_FLOCK = struct.Struct("hhqqi4x")  # Linux's struct flock: type, whence, start, len, pid

_LAUNCH = re.compile(rb"(\d{1,10}) (\d{1,18}) ([0-9a-f-]+)\n")
"""The content of the lock file, as `note_launch` writes it: pid, start and boot."""

_FileId = tuple[int, int]
_held: dict[_FileId, int] = {}
"""Locks held here, with the process that took them: a forked child inherits this table, not the locks."""


_acquiring = threading.Lock()
"""Held while a lock is taken: the kernel grants a lock of this process to each of its threads."""


class WorkerLock:
    """A run's lock. The worker takes it before anything else and holds it until it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._id: _FileId | None = None

    def acquire(self, *, create: bool = True) -> None:
        """Take the lock; unless `create`, its file must be there: a folder that is left of a run has none.

        Raises RunError if a worker holds it already, this process included, or if it cannot be locked.
        """
        with _acquiring:
            self._acquire(os.O_CREAT if create else 0)

    def _acquire(self, creation: int) -> None:
        run = self._path.parent.name
        if (holder := lock_holder(self._path)) is not None:
            raise RunError(f"{run}: the run already has a worker (pid {holder})")
        try:
            descriptor = open_own(self._path, os.O_RDWR | creation, LOCK_MODE)
        except OSError as error:
            raise RunError(f"{self._path}: cannot be locked: {error.strerror}") from error
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise RunError(f"{run}: another worker has just locked the run ({error.strerror})") from error
        found = os.fstat(descriptor)
        self._descriptor, self._id = descriptor, (found.st_dev, found.st_ino)
        _held[self._id] = os.getpid()

    def follow(self, path: Path) -> None:
        """Hold the lock at `path`: the same file in a renamed folder, or a new one if it was removed.

        Raises RunError if another process holds that.
        """
        self._path = path
        if self._id != _file_id(path):
            self.release()
            self.acquire()

    def forget_launch(self) -> None:
        """Clear the process of the previous launch: see `note_launch`. Only while the lock is held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)

    def release(self) -> None:
        """Release the lock before the process ends."""
        if self._descriptor is not None and self._id is not None:
            os.close(self._descriptor)
            del _held[self._id]
            self._descriptor = self._id = None


@contextmanager
def lock_of_ended(path: Path, run: str) -> Iterator[WorkerLock | None]:
    """Hold the lock of an ended run, so that nobody starts, renames or deletes it; None if it has none.

    Raises RunError, which names the `run`, if somebody holds it.
    """
    if not is_lock_file(path):
        yield None
        return
    if (holder := lock_holder(path)) is not None:
        raise RunError(
            f"{run}: process {holder} still uses it, a worker that is exiting or another command; "
            "try again later"
        )
    lock = WorkerLock(path)
    lock.acquire(create=False)
    try:
        yield lock
    finally:
        lock.release()


def is_lock_file(path: Path) -> bool:
    """Whether a run has a file for its lock; without one there is nothing to hold."""
    return path.is_file() and not path.is_symlink()


def lock_holder(path: Path) -> int | None:
    """Return the pid of the process that holds the lock, or None. Never takes the lock.

    The pid is 0 for a holder in another pid namespace (a container).
    """
    if holds_lock(path):
        return os.getpid()
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return None
    with file:
        query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, query))
    return None if kind == fcntl.F_UNLCK else pid


def holds_lock(path: Path) -> bool:
    """Whether this very process holds the lock."""
    identity = _file_id(path)
    return identity is not None and _held.get(identity) == os.getpid()


def lock_id(path: Path) -> str:
    """Return what identifies a lock file under any path, but not a copy of it; empty if it is not there.

    A renamed folder keeps it; a link to the lock of another run has an id of its own.
    """
    try:
        found = path.lstat()
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def has_worker(path: Path, may_be_launching: bool) -> bool:
    """Whether a worker holds the lock, or has been launched and may not have taken it yet.

    The lock of another user's run cannot be examined; a worker is assumed then. Raises OSError.
    """
    try:
        if lock_holder(path) is not None:
            return True
    except PermissionError:
        return True
    return may_be_launching and not launch_is_over(path)


def note_launch(path: Path, pid: int) -> None:
    """Write into the lock file which process was just launched: it has had no time to take the lock.

    The pid alone would not do, since pids are reused; a pid and a start time may both recur after a reboot.
    """
    descriptor = open_own(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, LOCK_MODE)
    try:
        os.write(descriptor, f"{pid} {start_ticks(pid) or 0} {boot_id()}\n".encode("ascii"))
    finally:
        os.close(descriptor)


def launched_last(path: Path) -> int | None:
    """Return the pid in the note of the last launch; None if there is none."""
    try:
        note = _LAUNCH.fullmatch(read_regular(path))
    except FileNotFoundError:
        return None
    return int(note[1]) if note else None


def launch_is_over(path: Path) -> bool:
    """Whether the worker launched last is known to have ended. Only for a lock that nobody holds."""
    try:
        note = _LAUNCH.fullmatch(read_regular(path))
    except FileNotFoundError:
        return False
    if note is None:
        return False
    pid, start, boot = note.groups()
    return boot != boot_id().encode() or start_ticks(int(pid)) != int(start)


def boot_id() -> str:
    """Return the kernel's id for the time since the last boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """Return the clock ticks from boot to the start of a process; None if it has ended, even unreaped.

    Pids are reused; together with its start, a pid identifies one process until the next boot.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def exit_reason(status: int) -> str:
    """Describe how a process ended, as `killed by SIGKILL`.

    `status` is that of subprocess: for a signal, its negative number.
    """
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"


def _file_id(path: Path) -> _FileId | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
