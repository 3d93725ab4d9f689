"""The checkpoints that a roll back reads, and those of later steps, which it abandons."""

from __future__ import annotations

import itertools
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from torchconsole.engine.components.shards import Wanted, everything
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.files import real_path, sync_folder
from torchconsole.engine.run.checkpoints import Target, checkpoint_of, list_checkpoints, older_intact, step_of
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import ABANDONED, BEST, REMOVED, REPLACED, step_of_name
from torchconsole.engine.training.checkpoint import held_checkpoints, is_kept, read_checkpoint, removed_name


def read_named(
    checkpoints: Path, name: str | None, is_wanted: Wanted = everything
) -> tuple[Path, dict[str, Any]]:
    """Return the checkpoint that `RollBack` names, and its state; None names the best one, or the newest.

    For `is_wanted`, see `read_checkpoint`. Raises CheckpointError, which suggests an older one if it is
    damaged.
    """
    try:
        return _read_named(checkpoints, name, is_wanted)
    except OSError as error:  # the disk may be away for a moment
        raise CheckpointError(f"{checkpoints}: cannot be read: {error.strerror or error}") from error


def _read_named(checkpoints: Path, name: str | None, is_wanted: Wanted) -> tuple[Path, dict[str, Any]]:
    run = RunFolder(checkpoints.parent)
    chosen = Target(run, None).pick() if name is None else checkpoint_of(run, name)
    folder = checkpoints / real_path(chosen).name
    if step_of(folder) < 0:
        raise CheckpointError(
            f"{folder.name} belongs to an abandoned part of the run; start a new run from it: "
            f"torchconsole resume {run.name}@{folder.name}"
        )
    try:
        return folder, read_checkpoint(folder, is_wanted)
    except CheckpointError as error:
        older = older_intact(folder)
        advice = (
            f"use the one before it: rollback {older.name}" if older else "there is no valid one before it"
        )
        raise CheckpointError(f"{error}; {advice}") from error


def abandon_later(checkpoints: Path, folder: Path) -> list[str]:
    """Remove the checkpoints of steps after that of `folder`, newest first.

    The best one and those saved on request are kept under other names, which are returned. Raises OSError
    with the name of the checkpoint, and then removes none.
    """
    moved: list[tuple[Path, Path]] = []
    with held_checkpoints(checkpoints) as held:
        best = (held / BEST).resolve().name
        for old in held.glob(f"{REPLACED}*"):  # the next start would put it back
            if step_of_name(old.name.removeprefix(REPLACED)) > step_of(folder):
                shutil.rmtree(old, ignore_errors=True)
        name = ""
        try:
            for later in list_checkpoints(held):
                if step_of(later) > step_of(folder):
                    name = later.name
                    aside = _abandoned(later) if later.name == best or is_kept(later) else removed_name(later)
                    later.rename(aside)
                    moved.append((later, aside))
            sync_folder(held)
        except OSError as error:
            for later, aside in reversed(moved):
                with suppress(OSError):
                    aside.rename(later)
            raise OSError(error.errno, error.strerror or str(error), name) from error
        names = [aside.name for _, aside in moved]
        for name in names:
            if name.startswith(REMOVED):
                shutil.rmtree(held / name, ignore_errors=True)
    return [name for name in names if not name.startswith(REMOVED)]


def _abandoned(folder: Path) -> Path:
    """Return a new name for a checkpoint that the run has been rolled back beyond."""
    names = (f"{ABANDONED}{f'{number}-' if number > 1 else ''}{folder.name}" for number in itertools.count(1))
    return next(path for path in map(folder.with_name, names) if not path.exists())
