"""Writes run.json of a live run, at the end even on a full disk."""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torchconsole.engine.files import open_own, sync_folder
from torchconsole.engine.protocol.events import Event, RanksMeasured, RunFailed, TelemetryMeasured
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import boot_id, start_ticks
from torchconsole.engine.run.memory_kills import read_counters
from torchconsole.engine.run.record import RunRecord, own_versions, record_bytes
from torchconsole.engine.run.slurm import own_job
from torchconsole.engine.run.state_record import record_with

PERIOD = 1.0
"""Seconds between two writes of run.json while the status stays the same."""

SPARE_BYTES = 64 << 10
"""Size of the spare file, if the disk has room for it."""

FULL = (errno.ENOSPC, errno.EDQUOT)


class RecordWriter:
    """Writes the state into run.json, together with the facts about this process."""

    def __init__(self, folder: RunFolder) -> None:
        launched = folder.load_record()
        self._folder = folder
        self._record = replace(
            launched,
            pid=os.getpid(),
            host=socket.gethostname(),
            boot_id=boot_id(),
            process_start=start_ticks(os.getpid()),
            slurm=own_job(),
            memory_kills=read_counters(),
            socket="",
            user_error=False,
            can_start_anyway=False,
            versions={**launched.versions, **own_versions()},
        )
        self._spare = SpareFile(folder.spare_file)
        self._status = ""
        self._stale = True
        self._written = 0.0
        self.written = self._record

    def move_to(self, folder: RunFolder) -> None:
        """Write to this folder from now on, under its name, and again if run.json was removed."""
        if folder != self._folder or not folder.run_file.exists():
            self._stale, self._written = True, 0.0
        self._folder = folder
        self._spare.move_to(folder.spare_file)
        self._record = replace(self._record, name=folder.name, folder=str(folder.path))

    def set_address(self, address: str) -> None:
        """Name this address of the run's socket from the next `update` on, which is due at once."""
        self._record.socket = address
        self._stale, self._written = True, 0.0

    def note(self, event: Event) -> None:
        """Note what run.json keeps of an event besides the state."""
        self._stale = self._stale or not isinstance(event, TelemetryMeasured | RanksMeasured)
        if isinstance(event, RunFailed):
            self._record.user_error = event.user_error
            self._record.can_start_anyway = event.can_start_anyway

    def update(self, state: RunState) -> None:
        """Write the state if it is due. Raises OSError; the next call tries again."""
        due = self._stale and time.monotonic() - self._written >= PERIOD
        if due or state.status != self._status:
            self.write(state)

    @property
    def has_spare(self) -> bool:
        """Whether the end of the run can be written even if the disk is full then."""
        return self._spare.bytes > 0

    def write(self, state: RunState) -> None:
        """Write the state now. Raises OSError."""
        record = self.record_of(state)
        try:
            self._folder.write_record(record)
        except OSError as error:
            if state.is_live or error.errno not in FULL:
                raise
            self._spare.become(self._folder.run_file, record_bytes(record))
        if state.is_live:
            self._spare.reserve(2 * len(record_bytes(record)))
        else:
            self._spare.remove()
        self.written = record
        self._status, self._stale, self._written = state.status, False, time.monotonic()

    def record_of(self, state: RunState) -> RunRecord:
        """Return the record of a state."""
        record = record_with(self._record, state)
        if state.device is not None:
            record.versions = {**record.versions, "torch": state.device.torch}
        return record


class SpareFile:
    """A file with room for the last run.json, which then needs neither space nor an inode of the disk."""

    def __init__(self, path: Path) -> None:
        self.bytes = 0
        self._path = path

    def move_to(self, path: Path) -> None:
        """Note that the file is elsewhere now: its folder was renamed, or removed."""
        self._path = path
        if not path.exists():
            self.bytes = 0

    def reserve(self, size: int) -> None:
        """Make the file, with room for `size` bytes at least. On a full disk there is none."""
        if size <= self.bytes:
            return
        with suppress(OSError):
            descriptor = open_own(self._path, os.O_WRONLY | os.O_CREAT)
            try:
                for wanted in (max(2 * size, SPARE_BYTES), size):
                    with suppress(OSError):
                        os.posix_fallocate(descriptor, 0, wanted)
                        self.bytes = wanted
                        break
            finally:
                os.close(descriptor)

    def become(self, path: Path, content: bytes) -> None:
        """Replace `path` with this file, which gets `content`. Raises OSError; `path` is intact then."""
        if len(content) > self.bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        descriptor = open_own(self._path, os.O_WRONLY)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.ftruncate(descriptor, len(content))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._path.replace(path)
        self.bytes = 0
        sync_folder(path.parent)

    def remove(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self.bytes = 0
