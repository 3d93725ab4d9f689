"""A run's folder, and its run.json: what is known of a run without pydantic, numpy or torch."""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.status import LIVE_STATUSES, STATUSES, RunStatus
from torchconsole.engine.run.liveness import launch_is_over, lock_holder
from torchconsole.engine.run.processes import boot_id

LAUNCH_SECONDS = 20.0
"""How long a worker may take from its launch to its lock."""


@dataclass
class RunRecord:
    """What run.json says of a run. Times are seconds since the epoch; `best` is {metric, value, step}.

    `parent` is {run, folder, checkpoint, step} for a run that goes on from an older checkpoint of another.
    """

    name: str
    folder: str
    preset: str = ""
    title: str = ""
    status: RunStatus = "starting"
    pid: int | None = None
    host: str = ""
    created: float = 0.0
    updated: float = 0.0
    seq: int = 0
    step: int = 0
    epoch: int = 0
    lr: float | None = None
    best: dict[str, Any] | None = None
    total_steps: int | None = None
    total_epochs: int | None = None
    reason: str = ""
    user_error: bool = False
    socket: str = ""
    boot_id: str = ""
    process_start: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    parent: dict[str, Any] | None = None
    details: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_live(self) -> bool:
        """Whether a worker is (or should be) at it."""
        return self.status in LIVE_STATUSES

    @property
    def is_here(self) -> bool:
        """Whether its worker would be on this machine, and its socket with it.

        A machine may get another name; a container has its host's boot id, and a name and sockets of its own.
        """
        if self.host == socket.gethostname():
            return True
        return self.boot_id == boot_id() and Path(self.socket).is_socket()

    @property
    def progress(self) -> float | None:
        """The part of the run that is done, from 0 to 1; None for a run without an end that is known."""
        if self.total_steps:
            return min(1.0, self.step / self.total_steps)
        return min(1.0, self.epoch / self.total_epochs) if self.total_epochs else None

    def to_json(self) -> dict[str, Any]:
        """The record as a listing shows it: without `details`, which only the archive needs."""
        plain = asdict(self)
        del plain["details"]
        return plain

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RunRecord:
        """The record that run.json holds, less what is unknown here.

        Raises TypeError where a field is missing or of another type.
        """
        known = {field.name: str(field.type) for field in fields(cls) if field.name in data}
        for name, annotation in known.items():
            if not _suits(data[name], annotation):
                raise TypeError(f"{name} is {data[name]!r}")
        best = data.get("best")
        if best is not None and not _suits(best.get("value"), "float"):
            raise TypeError(f"best is {best!r}")
        return cls(**{name: data[name] for name in known})


@dataclass(frozen=True)
class RunFolder:
    """Where everything about one run lies."""

    path: Path

    @classmethod
    def create(cls, runs_dir: Path, preset_name: str) -> RunFolder:
        """Make a new folder `<preset>-<date>-<time>` below `runs_dir`, with an empty one for checkpoints.

        Raises RunError when that fails.
        """
        stem = f"{safe_name(preset_name)}-{time.strftime('%Y%m%d-%H%M%S')}"
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            folder = cls(_make_new(runs_dir.absolute() / stem))
            folder.checkpoints.mkdir()
            return folder
        except OSError as error:
            raise RunError(f"{runs_dir}: no run's folder can be made there: {error.strerror}") from error

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.path.name

    @property
    def preset_file(self) -> Path:
        """The resolved preset."""
        return self.path / "preset.toml"

    @property
    def wanted_preset_file(self) -> Path:
        """The preset that a resume asks for; it becomes the resolved one when the worker has accepted it."""
        return self.path / "preset.wanted.toml"

    @property
    def run_file(self) -> Path:
        """The record."""
        return self.path / "run.json"

    @property
    def metrics_file(self) -> Path:
        """One line per logged step, evaluation and epoch."""
        return self.path / "metrics.jsonl"

    @property
    def history_file(self) -> Path:
        """The history up to a moment, of a run of many lines."""
        return self.path / "history.json"

    @property
    def journal_file(self) -> Path:
        """One line per change."""
        return self.path / "journal.jsonl"

    @property
    def confusion_file(self) -> Path:
        """The latest evaluation that came with a confusion matrix."""
        return self.path / "confusion.json"

    @property
    def log_file(self) -> Path:
        """Everything that the worker printed."""
        return self.path / "worker.log"

    @property
    def lock_file(self) -> Path:
        """Locked by the worker as long as it lives."""
        return self.path / "worker.lock"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def read_record(self) -> RunRecord:
        """The record with the true status of a live one whose worker is gone. Raises RunError.

        That is `interrupted` where the machine was rebooted since, else `lost`.
        """
        record = self.load_record()
        if not self._has_lost_its_worker(record):
            return record
        # A worker writes its last status, then lets go of the lock: it may have done both since.
        record = self.load_record()
        return _without_worker(record) if record.is_live else record

    def metrics_bytes(self) -> int:
        """How much has been written of the metrics."""
        return self.metrics_file.stat().st_size if self.metrics_file.exists() else 0

    def load_record(self) -> RunRecord:
        """The record as it was written last. Raises RunError when there is none, or none that can be read."""
        try:
            record = RunRecord.from_json(json.loads(self.run_file.read_bytes()))
        except FileNotFoundError as error:
            raise RunError(f"{self.path}: not a run's folder, it has no run.json") from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise RunError(f"{self.run_file}: cannot be read: {error}") from error
        return replace(record, name=self.name, folder=str(self.path))

    def write_record(self, record: RunRecord) -> None:
        """Replace run.json. Raises OSError, and the old one is intact then."""
        text = json.dumps(vars(record), indent=1, allow_nan=False)
        write_atomically(self.run_file, text.encode() + b"\n")

    def _has_lost_its_worker(self, record: RunRecord) -> bool:
        # The kernel that gave the lock shows it, whatever the machine is called now.
        shows_its_lock = record.host == socket.gethostname() or record.boot_id == boot_id()
        if not (record.is_live and shows_its_lock) or self._is_locked():
            return False
        # Either way: the clock may have been set back.
        launching = record.status == "starting" and abs(time.time() - record.updated) < LAUNCH_SECONDS
        return not launching or record.pid is not None or launch_is_over(self.lock_file)

    def _is_locked(self) -> bool:
        """Whether a worker holds the lock; of another user's run that is believed."""
        try:
            return lock_holder(self.lock_file) is not None
        except PermissionError:
            return True


_KINDS: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "bool": bool,
    "int": int,
    "float": (int, float),
    "dict": dict,
}


def _suits(value: Any, annotation: str) -> bool:
    """Whether a value out of a file is what a field is annotated with. Importing pydantic takes too long."""
    kind, _, optional = annotation.partition(" | ")
    if optional and value is None:
        return True
    if kind == "RunStatus":
        return value in STATUSES
    return isinstance(value, _KINDS[kind.partition("[")[0]])


def safe_name(name: str) -> str:
    """A preset's name as part of a folder's: nothing in it can lead elsewhere or upset a terminal."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:60] or "run"


def _make_new(path: Path) -> Path:
    """Make a folder that is not there yet: `path`, else `path` with a number from 2 on."""
    number = 1
    while True:
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        with suppress(FileExistsError):
            candidate.mkdir()
            return candidate
        number += 1


def _without_worker(record: RunRecord) -> RunRecord:
    if record.boot_id and record.boot_id != boot_id():
        reason = "the machine was rebooted while the run was at work"
        return replace(record, status="interrupted", reason=reason)
    worker = f"the worker (pid {record.pid})" if record.pid else "the worker"
    return replace(record, status="lost", reason=f"{worker} exited unexpectedly; see worker.log")
