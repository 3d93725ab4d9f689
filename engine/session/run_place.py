"""Where the folder of a live run is: a renamed folder is followed, and a run whose folder is gone is ended.

"No such file", while the folder above is there, means that somebody has moved or removed the run. Everything
else (a stale handle, an I/O error, a folder above that is missing or on another disk) means that a disk or a
network mount is away, and will be back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.events import Event, FolderMoved, LogLevel, LogWritten
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord, load_record
from torchconsole.engine.run.registry import note_missing, note_move, register
from torchconsole.engine.session.event_queue import report_error
from torchconsole.engine.session.worker_log import WorkerLog

LOOK_SECONDS = 2.0
"""Seconds between two searches for a missing folder, and between two checks of what should be in it."""

GRACE_SECONDS = 60.0
"""How long a run goes on without its folder."""

_Identity = tuple[int, int]


class RunPlace:
    """Follows the run's folder. `check` is called before each write, in the server's thread."""

    def __init__(self, folder: RunFolder, emit: Callable[[Event], None]) -> None:
        self.folder = folder
        self.written: RunRecord | None = None
        """The last content of run.json: it identifies a folder that was copied to another name."""
        self.write_preset: Callable[[RunFolder, int], None] = lambda folder, changes: None
        """Writes the preset as it is after so many changes, unless more have been made. Raises OSError."""
        self.end: Callable[[str], object] = lambda reason: None
        """Ends the run, for a reason."""
        self._emit = emit
        self._log = WorkerLog(folder)
        self._followers: list[Callable[[RunFolder], object]] = [self._log.follow]
        self._device = folder.path.parent.stat().st_dev
        self._missing_since: float | None = None
        self._gone_since: float | None = None
        self._elsewhere: Path | None = None
        self._earlier: list[RunFolder] = []
        self._next_look = 0.0
        self._descriptor = -1
        self._hold(folder.path)

    def follow_with(self, follower: Callable[[RunFolder], object]) -> None:
        """Call `follower` with the folder whenever it has moved, and every LOOK_SECONDS.

        It may raise OSError if the folder cannot be used at present, and RunError if it never can be again.
        """
        self._followers.append(follower)

    def check(self) -> bool:
        """Return whether the run's files can be written, once a folder that was renamed has been followed."""
        is_due = time.monotonic() >= self._next_look
        if self._descriptor < 0 or (self._missing_since is not None and not is_due):
            return False
        cause: OSError | None = None
        found: Path | None = None
        try:
            if self._is_it(self.folder.path):
                found = self.folder.path
        except OSError as error:
            cause = error
        found = found or self._search(cause)
        if found is None:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self._miss(cause)
            return self._missing_since is None
        if found != self.folder.path or self._missing_since is not None or is_due:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self._use(found)
        return True

    def close(self) -> None:
        """Let go of the folder. No file can be written any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _search(self, cause: OSError | None) -> Path | None:
        """Search for a folder that is not under its path any more."""
        moved = self._moved()
        parent = self.folder.path.parent
        if not self._is_gone(cause):
            # If its disk is still there, the folder was moved together with the one above it.
            return moved if moved is not None and not parent.exists() else None
        self._elsewhere = moved
        if moved is not None:
            # The path may have led there by a link that was removed.
            return moved if moved == self._real or moved.parent == parent.resolve() else None
        return next(filter(self._is_copy, _folders_in(parent)), None)

    def _moved(self) -> Path | None:
        """Ask the kernel where the folder that we hold open is now; None if it was removed."""
        with suppress(OSError):
            path = Path(f"/proc/self/fd/{self._descriptor}").readlink()
            if path.is_absolute() and _identity(path) == self._identity:
                return path
        return next(filter(self._is_same, _folders_in(self.folder.path.parent)), None)

    def _is_it(self, path: Path) -> bool:
        """Whether the run's folder is at `path`: the same one, or a copy of it that was put back."""
        if _identity(path) == self._identity:
            return True
        record, written = self._record_at(path), self.written
        return record is not None and written is not None and _worker_of(record) == _worker_of(written)

    def _is_same(self, path: Path) -> bool:
        with suppress(OSError):
            return _identity(path) == self._identity
        return False

    def _is_copy(self, path: Path) -> bool:
        """Whether it is an up-to-date copy: a backup made long ago is not."""
        record, written = self._record_at(path), self.written
        if record is None or written is None or record.updated != written.updated:
            return False
        return _worker_of(record) == _worker_of(written)

    def _record_at(self, path: Path) -> RunRecord | None:
        """Read the record of a folder of the same owner; None if there is none."""
        if not self._has_same_owner(path):
            return None
        try:
            return load_record(RunFolder(path).run_file)
        except RunError:
            return None

    def _has_same_owner(self, path: Path) -> bool:
        """Whether a copy may be ours: where others can write, they can put a forged one in our place."""
        with suppress(OSError):
            return path.stat().st_uid == self._owner
        return False

    def _is_gone(self, cause: OSError | None) -> bool:
        """Whether somebody has moved or removed the folder, rather than a disk being away."""
        if not isinstance(cause, FileNotFoundError | NotADirectoryError | None):
            return False
        try:
            return self.folder.path.parent.stat().st_dev == self._device
        except OSError:
            return False

    def _miss(self, cause: OSError | None) -> None:
        now = time.monotonic()
        path = self.folder.path
        is_first, self._missing_since = self._missing_since is None, self._missing_since or now
        if not self._is_gone(cause):
            was_away, self._gone_since = self._gone_since is None and not is_first, None
            if not was_away:
                self._note_missing("the run is live, but its disk is away")
                why = cause.strerror if cause else "another disk is mounted there"
                self._tell(
                    "warning",
                    f"{path}: the run's disk is away ({why}): the training continues, its metrics are kept in"
                    " memory, and checkpoints cannot be saved until the disk is back",
                )
            return
        if self._gone_since is None:
            self._gone_since = now
            self._log.go_elsewhere(self.folder)
            what = f"was moved to {self._elsewhere}" if self._elsewhere else "was removed"
            self._note_missing(f"the run is live, but its folder {what}")
            self._tell(
                "error",
                f"{path}: the run's folder {what}: nothing can be saved, and the run ends in "
                f"{GRACE_SECONDS:.0f} s unless the folder is back",
            )
        elif now - self._gone_since >= GRACE_SECONDS:
            self._give_up()

    def _give_up(self) -> None:
        """End the run. A folder that was moved elsewhere gets what is left to write."""
        path, elsewhere = self.folder.path, self._elsewhere
        self._gone_since = float("inf")
        if elsewhere is not None:
            self._use(elsewhere)
            self._end(f"the run's folder was moved from {path} to {elsewhere}")
        else:
            self._end(f"the run's folder {path} was removed")

    def _note_missing(self, reason: str) -> None:
        with suppress(OSError):  # it is shown by the console, and in the log
            note_missing(self.folder, f"{reason} (pid {os.getpid()})")

    def _use(self, path: Path) -> None:
        """Write to `path` from now on, and let the followers check what they need there."""
        before, self.folder = self.folder, RunFolder(path)
        was_missing = self._missing_since is not None
        seconds = time.monotonic() - (self._missing_since or 0.0)
        if not self._is_same(path):
            self._hold(path)
        for follower in self._followers:
            try:
                follower(self.folder)
            except OSError:
                continue  # the next check tries again, or finds that the folder is missing
            except RunError as error:
                self._tell("error", str(error))
                self._end(str(error))
        self._missing_since = self._gone_since = self._elsewhere = None
        if self.folder != before:
            self._earlier.append(before)
            note_move(self._earlier, self.folder)
            self._emit(FolderMoved(name=self.folder.name, folder=str(path)))
            self._tell("warning", f"the run's folder was moved: it is {path} now")
        elif was_missing:
            register(self.folder)
            self._tell("warning", f"{path}: the run's folder is back after {seconds:.0f} s")

    def _end(self, reason: str) -> None:
        end, self.end = self.end, lambda reason: None
        end(reason)

    def _hold(self, path: Path) -> None:
        """Keep the folder open: the kernel tells its present name then."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, found = descriptor, os.fstat(descriptor)
        self._identity: _Identity = found.st_dev, found.st_ino
        self._owner = found.st_uid
        self._real = path.resolve()

    def _tell(self, level: LogLevel, message: str) -> None:
        """Report to clients, and in worker.log for those who cannot connect."""
        report_error(message, level)
        self._emit(LogWritten(level=level, message=message))


def _identity(path: Path) -> _Identity:
    found = path.stat()
    return found.st_dev, found.st_ino


def _worker_of(record: RunRecord) -> tuple[object, ...]:
    """Return what identifies the run and the worker that wrote a record."""
    return record.created, record.pid, record.boot_id, record.process_start


def _folders_in(path: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(path) as entries:
        yield from (Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
