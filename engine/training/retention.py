"""Which checkpoints of a run there are, which of them `best` and `last` point to, and which may go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.run.manifest import BEST, LAST, list_checkpoints, read_manifest
from torchconsole.engine.training.checkpoint import NEW_LINK, read_checkpoint, remove_checkpoint


def newest_valid(checkpoints: Path) -> tuple[Path, dict[str, Any], list[str]]:
    """The newest checkpoint that can be trusted, its state, and why newer ones were passed over.

    Raises CheckpointError when there is none.
    """
    problems: list[str] = []
    for folder in list_checkpoints(checkpoints):
        try:
            return folder, read_checkpoint(folder), problems
        except CheckpointError as error:
            problems.append(str(error))
    reasons = "; ".join(problems) or "none was written"
    raise CheckpointError(f"{checkpoints}: no checkpoint to resume from: {reasons}")


def point(checkpoints: Path, link: str, folder: Path) -> None:
    """Repoint the link `best` or `last`, at once for every reader."""
    temporary = checkpoints / f".{link}{NEW_LINK}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.name)
    temporary.replace(checkpoints / link)


def relink(checkpoints: Path, last: Path, best: Path) -> None:
    """Repair the links for a resume from `last`: a kill may have come between a rename and its link."""
    point(checkpoints, LAST, last)
    if best.is_dir():
        point(checkpoints, BEST, best)


def rotate(checkpoints: Path, keep: int) -> None:
    """Remove all but the newest `keep`, the best, the last and those saved by hand; -1 removes none."""
    if keep < 0:
        return
    linked = {(checkpoints / link).resolve().name for link in (BEST, LAST)}
    for folder in list_checkpoints(checkpoints)[keep:]:
        if folder.name not in linked and not _kept(folder):
            remove_checkpoint(folder)


def _kept(folder: Path) -> bool:
    try:
        return read_manifest(folder).kept
    except CheckpointError:
        return False
