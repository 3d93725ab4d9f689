"""A run's folder: the paths of its files."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.run import names
from torchconsole.engine.run.record import RunRecord, load_record, read_record, write_record
from torchconsole.engine.user_folders import state_folder


@dataclass(frozen=True)
class RunFolder:
    """The folder that holds everything about one run."""

    path: Path

    @classmethod
    def create(cls, runs_dir: Path, preset_name: str, name: str = "") -> RunFolder:
        """Make a new folder in `runs_dir`, with an empty folder for checkpoints.

        It is called `name`, which must be one that a run can have, or else `<preset>-<date>-<time>`. Raises
        RunError if that fails, or if `name` exists already.
        """
        stem = f"{safe_name(preset_name)}-{time.strftime('%Y%m%d-%H%M%S')}"
        path = runs_dir.absolute() / (name or stem)
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            if name:
                path.mkdir()
            folder = cls(path if name else _make_new(path))
            folder.checkpoints.mkdir()
            return folder
        except FileExistsError as error:
            if name and error.filename == str(path):
                raise RunError(f"{name} exists already in {runs_dir}") from error
            raise RunError(f"{runs_dir}: cannot create a run folder here: {error.strerror}") from error
        except OSError as error:
            raise RunError(f"{runs_dir}: cannot create a run folder here: {error.strerror}") from error

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.path.name

    @property
    def preset_file(self) -> Path:
        """The resolved preset."""
        return self.path / names.PRESET_FILE

    @property
    def wanted_preset_file(self) -> Path:
        """The preset that a resume asks for; it becomes the resolved one once the worker has accepted it."""
        return self.path / names.WANTED_PRESET_FILE

    @property
    def run_file(self) -> Path:
        """The record."""
        return self.path / names.RUN_FILE

    @property
    def spare_file(self) -> Path:
        """Room for the last record on a full disk."""
        return self.path / names.SPARE_FILE

    @property
    def metrics_file(self) -> Path:
        """One line per logged step, evaluation and epoch."""
        return self.path / names.METRICS_FILE

    @property
    def csv_file(self) -> Path:
        """The rows of the metrics file as a table."""
        return self.path / names.CSV_FILE

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / names.TENSORBOARD

    @property
    def history_file(self) -> Path:
        """The history of a long run up to some point."""
        return self.path / names.HISTORY_FILE

    @property
    def journal_file(self) -> Path:
        """One line per change."""
        return self.path / names.JOURNAL_FILE

    @property
    def confusion_file(self) -> Path:
        """The latest evaluation with a confusion matrix."""
        return self.path / names.CONFUSION_FILE

    @property
    def input_file(self) -> Path:
        """What turns a file or a row into an input of the model."""
        return self.path / names.INPUT_FILE

    @property
    def notes_file(self) -> Path:
        """The tags and the note that people gave to the run."""
        return self.path / names.NOTES_FILE

    @property
    def program_file(self) -> Path:
        """What is known of a program that calls `torchconsole.run`."""
        return self.path / names.PROGRAM_FILE

    @property
    def results(self) -> Path:
        """The folder of pictures and texts that a program of the user's own has saved."""
        return self.path / names.RESULTS

    @property
    def log_file(self) -> Path:
        """Everything that the worker logged and printed."""
        return self.path / names.LOG_FILE

    @property
    def log_elsewhere(self) -> Path:
        """What the worker logged and printed since its folder was removed, in the user's state folder."""
        return state_folder() / "removed-runs" / f"{self.name}.log"

    @property
    def lock_file(self) -> Path:
        """Locked by the worker as long as it lives."""
        return self.path / names.LOCK_FILE

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / names.CHECKPOINTS

    @property
    def is_being_deleted(self) -> bool:
        """Whether this is what a deletion has left so far."""
        return self.path.name.endswith(names.DELETING)

    @property
    def original(self) -> RunFolder:
        """The folder that the run had before its deletion began."""
        return RunFolder(self.path.parent / self.path.name.removesuffix(names.DELETING))

    @property
    def aside(self) -> RunFolder:
        """The folder that the run has while it is being deleted."""
        return RunFolder(self.path.parent / (self.original.path.name + names.DELETING))

    def metrics_bytes(self) -> int:
        """Return the size of the metrics file; 0 if there is none."""
        return self.metrics_file.stat().st_size if self.metrics_file.exists() else 0

    def read_record(self) -> RunRecord:
        """Read the record, with the true status if its worker is gone. Raises RunError."""
        self.check_is_whole()
        return read_record(self.run_file, self.lock_file)

    def load_record(self) -> RunRecord:
        """Read the record as it was last written. Raises RunError if there is none or it cannot be read."""
        self.check_is_whole()
        return load_record(self.run_file)

    def write_record(self, record: RunRecord) -> None:
        """Replace run.json. Raises OSError; the old file is intact then."""
        write_record(self.run_file, record)

    def check_is_whole(self) -> None:
        """Raise RunError if the run is partly deleted."""
        if self.is_being_deleted:
            name = self.original.name
            raise RunError(f"{name}: partly deleted; `torchconsole delete {name}` finishes it")


def safe_name(name: str) -> str:
    """Make a preset's name safe as part of a folder name: no other folder, no terminal control codes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:60] or "run"


def _make_new(path: Path) -> Path:
    """Make a folder that does not exist yet: `path`, else `path` with a number from 2 on."""
    number = 1
    while True:
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        with suppress(FileExistsError):
            candidate.mkdir()
            return candidate
        number += 1
