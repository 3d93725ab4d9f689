"""One checkpoint: a folder `step-00000120/` with state.pt and manifest.json, whole or not there at all."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.files import sync_folder, write_atomically
from torchconsole.engine.run.manifest import (
    MANIFEST_FILE,
    STATE_FILE,
    Manifest,
    fingerprint,
    folder_name,
    verify,
)

UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, struct.error, AssertionError, TypeError, KeyError, IndexError,
    AttributeError, ValueError, EOFError, MemoryError,
    OverflowError,
)  # fmt: skip
"""What torch.load raises for a file that is not what it claims."""

TEMPORARY = ".writing-"
REPLACED = ".replaced-"
REMOVED = ".removed-"
NEW_LINK = ".new"


def write_checkpoint(checkpoints: Path, state: dict[str, Any], manifest: Manifest) -> Path:
    """Write `state` durably: temporary name, fsync of files and folder, rename, fsync of the parent.

    An older checkpoint of the same step is replaced. Raises OSError or RuntimeError (torch's word for a full
    disk); nothing is left behind then.
    """
    checkpoints.mkdir(exist_ok=True)
    target = checkpoints / folder_name(manifest.step)
    temporary = checkpoints / f"{TEMPORARY}{target.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with (temporary / STATE_FILE).open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        files = {STATE_FILE: fingerprint(temporary / STATE_FILE)}
        write_atomically(temporary / MANIFEST_FILE, _as_json(replace(manifest, files=files)))
        _move_into_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(checkpoints)
    return target


def keep_forever(folder: Path, manifest: Manifest) -> None:
    """Mark a checkpoint that is already there as one that rotation spares. Raises OSError."""
    write_atomically(folder / MANIFEST_FILE, _as_json(replace(manifest, kept=True)))


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint: from its first moment on none of it is taken for one. Raises OSError."""
    aside = folder.with_name(f"{REMOVED}{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    shutil.rmtree(aside)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The state, on the CPU, after its size and sha256 were found right. Raises CheckpointError."""
    verify(folder)
    path = folder / STATE_FILE
    try:
        # Mapped, so that no memory is taken for what the file claims and does not hold.
        mapped = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = _copied(mapped)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except UNREADABLE as error:
        raise CheckpointError(f"{path}: is not a checkpoint of plain tensors and numbers") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: is not a training's state")
    return state


def clean_leftovers(checkpoints: Path) -> None:
    """Remove what a killed save left, and put back a checkpoint that was about to be replaced.

    Raises CheckpointError where the folder cannot be written.
    """
    try:
        for path in checkpoints.glob(f"{REPLACED}*"):
            original = checkpoints / path.name.removeprefix(REPLACED)
            if original.exists():
                shutil.rmtree(path)
            else:
                path.rename(original)
        for pattern in (f"{TEMPORARY}*", f"{REMOVED}*"):
            for path in checkpoints.glob(pattern):
                shutil.rmtree(path)
        for pattern in (f"*/.{MANIFEST_FILE}.*", f".*{NEW_LINK}"):
            for path in checkpoints.glob(pattern):
                path.unlink()
    except OSError as error:
        raise CheckpointError(f"{checkpoints}: cannot be written: {error.strerror}") from error


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


def _as_json(manifest: Manifest) -> bytes:
    return json.dumps(asdict(manifest), indent=2).encode()


def _copied(value: Any) -> Any:
    """The state in memory of its own. Raises ValueError for a tensor of more elements than are stored."""
    if isinstance(value, torch.Tensor):
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"a tensor claims the shape {tuple(value.shape)}")
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_copied, value))
    return value
