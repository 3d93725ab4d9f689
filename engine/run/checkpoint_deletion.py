"""Deletes single checkpoints of a run, live or ended."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.files import held_folder
from torchconsole.engine.run import names
from torchconsole.engine.run.checkpoints import list_checkpoints, newest_intact, read_manifest
from torchconsole.engine.run.folder import RunFolder


def deletion_question(run: RunFolder, name: str) -> str:
    """Return what a run loses with a checkpoint. Reads the files of the state to find the valid ones."""
    checkpoints = run.checkpoints
    parts = []
    resumed = newest_intact(run)
    if resumed is not None and resumed.name == name:
        rest = [folder.name for folder in list_checkpoints(checkpoints) if folder.name != name]
        then = f"from {rest[0]} at best" if rest else "from no checkpoint at all"
        if run.read_record().is_live:
            parts.append(
                f"The run is live and this is its newest valid checkpoint: after a crash it resumes {then}."
            )
        else:
            parts.append(f"It is the newest valid one: the run then resumes {then}.")
    for link, what in ((names.BEST, "the best one"), (names.LAST, "the last one")):
        with suppress(OSError):
            if (checkpoints / link).readlink().name == name:
                parts.append(f"It is {what}.")
    with suppress(CheckpointError):
        if location := read_manifest(checkpoints / name).location:
            parts.append(f"Only the entry is deleted; its files stay in {location}.")
    return " ".join(parts) or "The run keeps its other checkpoints."


def delete_checkpoint(run: RunFolder, name: str) -> None:
    """Delete a checkpoint and the links to it.

    It is renamed first: what an interruption leaves is never valid, and the next worker removes it.
    Raises CheckpointError if it is not a checkpoint of this run, or cannot be deleted.
    """
    path = run.checkpoints / name
    is_named = max(names.step_of_name(name), names.step_of_abandoned(name)) >= 0
    if not is_named or path.is_symlink() or not path.is_dir():
        raise CheckpointError(f"{path}: is not a checkpoint; the list may be out of date")
    try:
        with held_folder(run.path) as held_run, held_folder(held_run / run.checkpoints.name) as held:
            removed = held / f"{names.REMOVED}{name}"
            (held / name).rename(removed)
            for link in names.LINKS:
                _drop_link(held / link, name)
            shutil.rmtree(removed)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be deleted: {error.strerror}") from error


def _drop_link(link: Path, name: str) -> None:
    """Remove a link to a checkpoint; `last` points to the newest one that is left."""
    try:
        if link.readlink().name != name:
            return
    except OSError:
        return
    rest = list_checkpoints(link.parent)
    if link.name != names.LAST or not rest:
        link.unlink(missing_ok=True)
        return
    temporary = link.with_name(f".{link.name}{names.NEW_LINK}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(rest[0].name)
    temporary.replace(link)
