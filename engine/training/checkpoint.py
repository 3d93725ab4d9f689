"""One checkpoint: a folder `step-00000120/` with state.pt and manifest.json, whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from torchconsole.engine.errors import CheckpointError

FORMAT_VERSION = 1
STATE_FILE = "state.pt"
MANIFEST_FILE = "manifest.json"
UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, struct.error, AssertionError, TypeError, KeyError, IndexError,
    AttributeError, ValueError, EOFError,
)  # fmt: skip
"""What torch.load raises for a file that is not what it claims."""

TEMPORARY = ".writing-"
REPLACED = ".replaced-"


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
    torch: str = str(torch.__version__)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


def folder_name(step: int) -> str:
    """The folder's name; padded, so that names sort as steps do."""
    return f"step-{step:08d}"


def write_checkpoint(checkpoints: Path, state: dict[str, Any], manifest: Manifest) -> Path:
    """Write `state` durably: temporary name, fsync of files and folder, rename, fsync of the parent.

    An older checkpoint of the same step is replaced. Raises OSError or RuntimeError (torch's word for a full
    disk); nothing is left behind then.
    """
    checkpoints.mkdir(parents=True, exist_ok=True)
    target = checkpoints / folder_name(manifest.step)
    temporary = checkpoints / f"{TEMPORARY}{target.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with (temporary / STATE_FILE).open("wb") as file:
            torch.save(state, file)
            _sync(file.fileno())
        described = asdict(manifest) | {"files": {STATE_FILE: _fingerprint(temporary / STATE_FILE)}}
        with (temporary / MANIFEST_FILE).open("w", encoding="utf-8") as text:
            json.dump(described, text, indent=2)
            text.flush()
            _sync(text.fileno())
        sync_folder(temporary)
        _move_into_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(checkpoints)
    return target


def keep_forever(folder: Path, manifest: Manifest) -> None:
    """Mark a checkpoint that is already there as one that rotation spares."""
    temporary = folder / f"{MANIFEST_FILE}.new"
    with temporary.open("w", encoding="utf-8") as text:
        json.dump(asdict(manifest) | {"kept": True}, text, indent=2)
        text.flush()
        _sync(text.fileno())
    temporary.replace(folder / MANIFEST_FILE)
    sync_folder(folder)


def read_manifest(folder: Path) -> Manifest:
    """What the checkpoint says of itself. Raises CheckpointError where it is missing or not readable."""
    try:
        content = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        version = content["format_version"]
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{folder}: checkpoint format {version} is newer than this program's ({FORMAT_VERSION})"
            )
        return Manifest(**content)
    except OSError as error:
        raise CheckpointError(f"{folder}: is not a whole checkpoint: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{folder}: {MANIFEST_FILE} is damaged") from error


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The state, on the CPU, after its size and sha256 were found right. Raises CheckpointError."""
    manifest = read_manifest(folder)
    path = folder / STATE_FILE
    try:
        found = _fingerprint(path)
        if found != manifest.files.get(STATE_FILE):
            raise CheckpointError(f"{path}: is damaged, its size or sha256 is not the manifest's")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except UNREADABLE as error:
        raise CheckpointError(f"{path}: is not a checkpoint of plain tensors and numbers") from error
    return state


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clean_leftovers(checkpoints: Path) -> None:
    """Remove what a killed save left, and put back a checkpoint that was about to be replaced."""
    for path in checkpoints.glob(f"{REPLACED}*"):
        original = checkpoints / path.name.removeprefix(REPLACED)
        if original.exists():
            shutil.rmtree(path)
        else:
            path.rename(original)
    for path in checkpoints.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path)


def _move_into_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    # A folder cannot be renamed onto one that is not empty.
    aside = target.with_name(f"{REPLACED}{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    target.rename(aside)
    temporary.rename(target)
    shutil.rmtree(aside)


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)
