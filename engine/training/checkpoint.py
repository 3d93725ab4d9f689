"""One checkpoint: a folder `step-00000120/` with state.pt and manifest.json, whole or not there at all."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.manifest import (
    MANIFEST_FILE,
    STATE_FILE,
    Manifest,
    fingerprint,
    folder_name,
    verify,
)

UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, struct.error, AssertionError, TypeError, KeyError, IndexError,
    AttributeError, ValueError, EOFError,
)  # fmt: skip
"""What torch.load raises for a file that is not what it claims."""

TEMPORARY = ".writing-"
REPLACED = ".replaced-"


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
        described = asdict(manifest) | {"files": {STATE_FILE: fingerprint(temporary / STATE_FILE)}}
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


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The state, on the CPU, after its size and sha256 were found right. Raises CheckpointError."""
    verify(folder)
    path = folder / STATE_FILE
    try:
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


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)
