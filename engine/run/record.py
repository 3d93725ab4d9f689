"""run.json, the record of a run: its schema, reading and writing. Needs neither pydantic, numpy nor torch."""

from __future__ import annotations

import json
import platform
import socket
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from torchconsole.engine.errors import RunError, UnreachableError
from torchconsole.engine.files import exists, is_away, read_regular, write_atomically
from torchconsole.engine.protocol.status import LIVE_STATUSES, ListedStatus
from torchconsole.engine.run.decoding import Timestamp, decode, parse_json
from torchconsole.engine.run.liveness import boot_id, has_worker
from torchconsole.engine.run.memory_kills import explain_kill
from torchconsole.engine.run.slurm import SlurmJob, has_ended_before
from torchconsole.engine.run.suspension import suspension

T = TypeVar("T")

LAUNCH_SECONDS = 20.0
"""How long a worker may take from its launch until it holds the lock."""


GIT_SECONDS = 5.0

NOT_STORED = ("tags", "note")
"""Fields that run.json does not contain: people change them while the worker writes run.json."""


class BestValue(TypedDict):
    """The best evaluation so far."""

    metric: str
    value: float
    step: int


class EarlyStoppingDetail(TypedDict, total=False):
    """What listings and resumes need of the detail `early_stopping`."""

    mode: str
    counter: int


class Parent(TypedDict):
    """The checkpoint of another run from which a run was started."""

    run: str
    folder: str
    checkpoint: str
    step: int


@dataclass
class RunRecord:
    """The content of run.json. Times are seconds since the epoch.

    `memory_kills` are the counters of `read_counters` when the worker started.
    `slurm` is the job of Slurm that the worker belongs to.
    `launch` identifies the torchrun that started its processes, if one did.
    `anyway`: findings do not refuse its start. `can_start_anyway`: they did, and nothing else. The `status`
    of a run whose record cannot be read is `unreadable` or `unreachable`, and `reason` says why. `tags` and
    `note` are those of notes.json, in the rows of a listing only; run.json does not contain them.
    """

    name: str
    folder: str
    preset: str = ""
    title: str = ""
    status: ListedStatus = "starting"
    pid: int | None = None
    host: str = ""
    created: Timestamp = 0.0
    updated: Timestamp = 0.0
    seq: int = 0
    step: int = 0
    epoch: int = 0
    lr: float | None = None
    best: BestValue | None = None
    total_steps: int | None = None
    total_epochs: int | None = None
    reason: str = ""
    problem: str = ""
    user_error: bool = False
    can_start_anyway: bool = False
    anyway: bool = False
    socket: str = ""
    boot_id: str = ""
    process_start: int | None = None
    memory_kills: dict[str, int] = field(default_factory=dict, repr=False)
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    parent: Parent | None = None
    slurm: SlurmJob | None = None
    launch: str = ""
    details: dict[str, Any] = field(default_factory=dict, repr=False)
    tags: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def is_live(self) -> bool:
        """Whether the run has a worker, or should have one."""
        return self.status in LIVE_STATUSES

    @property
    def is_here(self) -> bool:
        """Whether the worker, and with it the socket, is on this machine.

        The machine may have been renamed since. A container has the boot id of its host, but a host name and
        a /tmp of its own.
        """
        if self.host == socket.gethostname():
            return True
        try:
            return self.boot_id == boot_id() and Path(self.socket).is_socket()
        except OSError:  # in a folder of another user's, for example
            return False

    @property
    def suspended_by(self) -> str:
        """What suspends the live worker, such as `SIGSTOP`; empty if nothing does or it is elsewhere."""
        if not (self.is_live and self.process_start is not None and self.is_here):
            return ""
        return suspension(self.pid, self.process_start)

    @property
    def shown_status(self) -> str:
        """The status for people: `suspended (SIGSTOP)` for a live run whose worker is suspended."""
        cause = self.suspended_by
        return f"suspended ({cause})" if cause else self.status

    @property
    def progress(self) -> float | None:
        """The fraction of the run that is done, from 0 to 1; None if its end is not known."""
        if self.total_steps:
            return min(1.0, self.step / self.total_steps)
        return min(1.0, self.epoch / self.total_epochs) if self.total_epochs else None

    def detail(self, name: str, kind: type[T]) -> T | None:
        """Return one of the details; None if it is missing or not of this type."""
        try:
            return decode(kind, self.details.get(name))
        except ValueError:
            return None

    def to_json(self) -> dict[str, Any]:
        """Return the record for a listing: without what only a viewer of the run needs.

        `batch_size` are the samples of a step of all `processes`; None if unknown.
        """
        shown = {name: value for name, value in vars(self).items() if name not in ("details", "memory_kills")}
        several = {
            "processes": self.detail("processes", int) or 1,
            "batch_size": self.detail("batch_size", int),
        }
        return {**shown, **several, "suspended_by": self.suspended_by}


def load_record(run_file: Path) -> RunRecord:
    """Read the record as it was last written.

    Raises RunError if there is none or it cannot be read, UnreachableError if its disk is away.
    """
    folder = run_file.parent
    try:
        content = parse_json(read_regular(run_file))
        if isinstance(content, dict):
            content = {name: value for name, value in content.items() if name not in NOT_STORED}
        record = decode(RunRecord, content)
    except FileNotFoundError as error:
        if not exists(folder.parent):
            raise UnreachableError(f"{folder}: its disk or network mount is away") from error
        raise RunError(f"{folder}: not a run folder, it has no run.json") from error
    except OSError as error:
        raise _not_readable(run_file, error) from error
    except ValueError as error:
        raise RunError(f"{run_file}: cannot be read: {error}") from error
    return replace(record, name=folder.name, folder=str(folder))


def read_record(run_file: Path, lock_file: Path) -> RunRecord:
    """Read the record, with the true status if its worker is gone. Raises as `load_record` does.

    That status is `interrupted` if the machine was rebooted since, else `lost`.
    """
    record = load_record(run_file)
    try:
        if not _has_lost_its_worker(record, lock_file):
            return record
    except OSError as error:
        raise _not_readable(lock_file, error) from error
    # A worker writes its last status, then releases the lock: it may have done both since the first reading.
    record = load_record(run_file)
    return _without_worker(record) if record.is_live else record


def write_record(run_file: Path, record: RunRecord) -> None:
    """Replace run.json. Raises OSError; the old file is intact then."""
    write_atomically(run_file, record_bytes(record))


def record_bytes(record: RunRecord) -> bytes:
    """Return the content of run.json."""
    content = {name: value for name, value in vars(record).items() if name not in NOT_STORED}
    return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"


def own_versions() -> dict[str, str]:
    """Return the versions that are known without torch, for the record."""
    from importlib import metadata  # 30 ms that listing runs does not need

    return {"python": platform.python_version(), "torchconsole": metadata.version("torchconsole")}


def git_commit() -> str | None:
    """Return the commit of the working folder; None outside a repository, or without git."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _has_lost_its_worker(record: RunRecord, lock_file: Path) -> bool:
    # The lock is visible in the kernel that granted it, whatever the machine is called now.
    shows_its_lock = record.host == socket.gethostname() or record.boot_id == boot_id()
    if not record.is_live:
        return False
    if not shows_its_lock:
        return has_ended_before(record.slurm)
    # abs: the clock may have been set back since.
    may_be_launching = (
        record.status == "starting"
        and record.pid is None
        and abs(time.time() - record.updated) < LAUNCH_SECONDS
    )
    return not has_worker(lock_file, may_be_launching)


def _without_worker(record: RunRecord) -> RunRecord:
    if has_ended_before(record.slurm):
        return replace(record, status="lost", reason="Slurm has ended its job and started it again")
    if record.boot_id and record.boot_id != boot_id():
        return replace(record, status="interrupted", reason="the machine was rebooted during the run")
    worker = f"the worker (pid {record.pid})" if record.pid else "the worker"
    cause = explain_kill(record.memory_kills) or "exited unexpectedly"
    return replace(record, status="lost", reason=f"{worker} {cause}; see worker.log")


def _not_readable(file: Path, error: OSError) -> RunError:
    kind = UnreachableError if is_away(error) else RunError
    return kind(f"{file}: cannot be read: {error.strerror}")
