"""Manifests of checkpoints: lists, describes and verifies a run's checkpoints without torch."""

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
"""Names of links in the folder of checkpoints, each to one checkpoint."""

_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Manifest:
    """The description of a checkpoint. Rotation never removes one that is `kept`."""

    step: int
    epoch: int
    revision: int
    kept: bool
    metrics: dict[str, float | None]
    format_version: int = FORMAT_VERSION
    created: float = field(default_factory=time.time)
    torch: str = ""
    best_step: int | None = None
    """The step of the best evaluation up to this checkpoint."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The total size of the files, in bytes."""
        return sum(file["bytes"] for file in self.files.values())


_MANIFEST = TypeAdapter(Manifest)


def folder_name(step: int) -> str:
    """Return a checkpoint's folder name, padded so that names sort like steps."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """Return the step in the name of a checkpoint folder; -1 for any other folder."""
    match = _STEP.fullmatch(folder.name)
    return int(match[1]) if match else -1


def list_checkpoints(checkpoints: Path) -> list[Path]:
    """List the checkpoint folders, newest first, by step and not by file time."""
    found = [path for path in checkpoints.glob("step-*") if step_of(path) >= 0]
    return sorted(found, key=step_of, reverse=True)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a checkpoint. Raises CheckpointError if it is missing or cannot be read."""
    try:
        content = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        version = content["format_version"]
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{folder}: its format {version} is newer than this program's ({FORMAT_VERSION}); "
                "use a newer torchconsole"
            )
        return _MANIFEST.validate_python(content)
    except OSError as error:
        raise CheckpointError(f"{folder}: is not a complete checkpoint: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{folder}: {MANIFEST_FILE} is damaged") from error


def verify(folder: Path) -> Manifest:
    """Compare the size and sha256 of the state with the manifest, and return the manifest.

    Raises CheckpointError, with the file that is missing or damaged.
    """
    manifest = read_manifest(folder)
    path = folder / STATE_FILE
    try:
        found = fingerprint(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if found != manifest.files.get(STATE_FILE):
        raise CheckpointError(f"{path}: is damaged: its size or sha256 differs from the manifest")
    return manifest


def verified(folder: Path) -> Path:
    """Resolve links and verify a checkpoint. Raises CheckpointError that suggests an older one."""
    folder = folder.resolve()
    try:
        verify(folder)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {suggest_older(folder)}") from error
    return folder


def suggest_older(folder: Path) -> str:
    """Return advice for a damaged checkpoint: which one to use instead."""
    for older in list_checkpoints(folder.parent):
        if step_of(older) < step_of(folder):
            with suppress(CheckpointError):
                verify(older)
                return f"use the one before it: {older}"
    return "there is no valid checkpoint before it"


def fingerprint(path: Path) -> dict[str, Any]:
    """Return the size (bytes) and sha256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
