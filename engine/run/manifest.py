"""What checkpoints a run has, and what each says of itself: known, and checked, without torch."""

from __future__ import annotations

import hashlib
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from torchconsole.engine.errors import CheckpointError

FORMAT_VERSION = 1
STATE_FILE = "state.pt"
MANIFEST_FILE = "manifest.json"

BEST = "best"
LAST = "last"
"""Links beside the checkpoints, to one of them each."""

_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself without being loaded. `kept` ones are never rotated away."""

    step: int
    epoch: int
    revision: int
    kept: bool
    metrics: dict[str, float | None]
    format_version: int = FORMAT_VERSION
    created: float = field(default_factory=time.time)
    torch: str = ""
    best_step: int | None = None
    """The step of the best evaluation by then."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of its files together."""
        return sum(file["bytes"] for file in self.files.values())


_MANIFEST = TypeAdapter(Manifest)


def folder_name(step: int) -> str:
    """The folder's name; padded, so that names sort as steps do."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """The step in a checkpoint folder's name; -1 for a folder of another name."""
    match = _STEP.fullmatch(folder.name)
    return int(match[1]) if match else -1


def list_checkpoints(checkpoints: Path) -> list[Path]:
    """The checkpoint folders, newest step first; by step number, never by file time."""
    found = [path for path in checkpoints.glob("step-*") if step_of(path) >= 0]
    return sorted(found, key=step_of, reverse=True)


def read_manifest(folder: Path) -> Manifest:
    """What the checkpoint says of itself. Raises CheckpointError where it is missing or not readable."""
    try:
        content = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        version = content["format_version"]
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{folder}: checkpoint format {version} is newer than this program's ({FORMAT_VERSION})"
            )
        return _MANIFEST.validate_python(content)
    except OSError as error:
        raise CheckpointError(f"{folder}: is not a whole checkpoint: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{folder}: {MANIFEST_FILE} is damaged") from error


def verify(folder: Path) -> Manifest:
    """The manifest, after size and sha256 of the state were found to be the manifest's.

    Raises CheckpointError that names the file which is missing or damaged.
    """
    manifest = read_manifest(folder)
    path = folder / STATE_FILE
    try:
        found = fingerprint(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if found != manifest.files.get(STATE_FILE):
        raise CheckpointError(f"{path}: is damaged, its size or sha256 is not the manifest's")
    return manifest


def verified(folder: Path) -> Path:
    """The checkpoint's own folder. Raises CheckpointError for a damaged one, and offers the one before it."""
    folder = folder.resolve()
    try:
        verify(folder)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {offer(folder)}") from error
    return folder


def offer(folder: Path) -> str:
    """What to use instead of a damaged checkpoint: the newest valid one before it."""
    for older in list_checkpoints(folder.parent):
        if step_of(older) < step_of(folder):
            with suppress(CheckpointError):
                verify(older)
                return f"the one before it is {older}"
    return "there is no valid one before it"


def fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes and sha256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
