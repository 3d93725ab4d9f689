"""Checks whether an ended run has anything left to do, and copies what a branched run inherits."""

from __future__ import annotations

import math
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CheckpointError, RunError
from torchconsole.engine.files import open_own, open_regular
from torchconsole.engine.run.checkpoints import folder_name, list_checkpoints, read_manifest
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import CHECKPOINT_FILES
from torchconsole.engine.run.record import EarlyStoppingDetail, RunRecord


@dataclass(frozen=True)
class Spent:
    """How much a run has used of each limit that ends it."""

    epochs: int
    steps: int
    minutes: float = 0.0
    without_improvement: int = 0


def spent_by(record: RunRecord, folder: RunFolder) -> Spent:
    """Return what a run has used, according to its newest checkpoint and its record."""
    stopping = record.detail("early_stopping", EarlyStoppingDetail)
    return Spent(
        epochs=_completed_epochs(folder),
        steps=record.step,
        minutes=(record.detail("active_seconds", float) or 0.0) / 60,
        without_improvement=stopping.get("counter", 0) if stopping else 0,
    )


def check_unfinished(name: str, preset: Preset, spent: Spent) -> None:
    """Raise RunError if the run would end as soon as it is resumed; the message says what to set."""
    training, stopping = preset.training, preset.early_stopping
    limits = [
        ("training.epochs", training.epochs, spent.epochs, "are done"),
        ("training.max_steps", training.max_steps, spent.steps, "are done"),
        ("training.max_minutes", training.max_minutes, spent.minutes, "have passed"),
        (
            "early_stopping.patience",
            stopping.patience if stopping else None,
            spent.without_improvement,
            "evaluations brought no improvement",
        ),
    ]
    reached = [limit for limit in limits if limit[1] is not None and limit[2] >= limit[1]]
    if reached:
        why = "; ".join(f"{key} is {limit:g} and {done:.6g} {what}" for key, limit, done, what in reached)
        more = " ".join(f"--set {key}={math.ceil(2 * done)}" for key, _, done, _ in reached)
        raise RunError(f"{name} is complete: {why}; to extend it: torchconsole resume {name} {more}")


def inherit(parent: RunFolder, checkpoint: Path, folder: RunFolder) -> None:
    """Give a new run the checkpoint, the best one so far, and the history. Raises OSError, CheckpointError.

    Readers drop the lines after the step from which the new run continues. Whoever owns the parent run may
    have put anything into its folders: only our own files are copied, and no folder in them is entered.
    """
    best_step = read_manifest(checkpoint).best_step
    best = parent.checkpoints / folder_name(best_step) if best_step is not None else checkpoint
    for source in {checkpoint, best} if best.is_dir() else {checkpoint}:
        (target := folder.checkpoints / source.name).mkdir()
        for name in CHECKPOINT_FILES:
            _link_or_copy(source / name, target / name)
    for file in (parent.history_file, parent.metrics_file, parent.journal_file):
        with suppress(FileNotFoundError):
            _copy(file, folder.path / file.name)


def _completed_epochs(folder: RunFolder) -> int:
    """Return the epochs completed at the newest checkpoint that can be read."""
    for checkpoint in list_checkpoints(folder.checkpoints):
        with suppress(CheckpointError):
            return read_manifest(checkpoint).epoch
    return 0


def _link_or_copy(source: Path, target: Path) -> None:
    """Make a hard link to a file of ours, which is never written to; others may change theirs: copy it."""
    with open_regular(source) as file:
        is_ours = os.fstat(file.fileno()).st_uid == os.geteuid()
    try:
        if is_ours:
            os.link(source, target, follow_symlinks=True)
            return
    except OSError:  # another file system, or one without hard links
        pass
    _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """Copy a file. A link may lead to a private file of ours: its copy is private, too."""
    with open_regular(source) as old:
        mode = 0o600 | (os.fstat(old.fileno()).st_mode & 0o666)
        descriptor = open_own(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as new:
            shutil.copyfileobj(old, new)
