"""A checkpoint: a folder `step-00000120/` with state.pt and manifest.json, complete or not there at all;
the links `best` and `last`, and which checkpoints of a run are kept.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from torchconsole.engine.components.data.data_record import DataRecord
from torchconsole.engine.components.shards import Wanted, everything, fill
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.files import (
    held_folder,
    open_regular,
    real_path,
    sync_folder,
    write_atomically,
)
from torchconsole.engine.run.checkpoints import (
    Fingerprint,
    Manifest,
    fingerprint,
    folder_name,
    list_checkpoints,
    read_manifest,
    verify,
)
from torchconsole.engine.run.names import (
    BEST,
    LAST,
    MANIFEST_FILE,
    NEW_LINK,
    REMOVED,
    REPLACED,
    STATE_FILE,
    TEMPORARY,
)
from torchconsole.engine.run.trained_batch import TrainedBatch

UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, struct.error, AssertionError, TypeError, KeyError, IndexError,
    AttributeError, ValueError, EOFError, MemoryError,
    OverflowError,
)  # fmt: skip
"""What torch.load raises for a damaged file."""


def write_checkpoint(
    checkpoints: Path,
    state: dict[str, Any],
    manifest: Manifest,
    write_more: Callable[[Path], dict[str, Fingerprint]] = lambda folder: {},
) -> Path:
    """Write `state` durably: temporary name, fsync of files and folder, rename, fsync of the parent.

    `write_more` gets the path of the temporary folder, writes further files into it, and returns what
    identifies them. An older checkpoint of the same step is replaced. Raises OSError, which is
    FileNotFoundError if the folder was moved meanwhile, or RuntimeError, as which torch reports a full disk;
    nothing is left behind then.
    """
    temporary = checkpoints / f"{TEMPORARY}{folder_name(manifest.step)}"

    def write(folder: Path) -> None:
        _write_files(folder, state, manifest, write_more(temporary))

    return _publish(checkpoints, manifest.step, write)


def record_checkpoint(checkpoints: Path, manifest: Manifest, files: list[Path]) -> Path:
    """Record what another library has saved as a checkpoint, as durably as `write_checkpoint` does.

    With `manifest.location`, the files are below that folder and stay there; without, they are moved beside
    the manifest. Raises OSError.
    """

    def write(folder: Path) -> None:
        place = Path(manifest.location) if manifest.location else folder
        if not manifest.location:
            for file in files:
                shutil.move(file, folder / file.name)
        paths = files if manifest.location else [folder / file.name for file in files]
        known = {str(path.relative_to(place)): fingerprint(path) for path in paths}
        write_atomically(folder / MANIFEST_FILE, _as_json(replace(manifest, files=known)))

    return _publish(checkpoints, manifest.step, write)


def _publish(checkpoints: Path, step: int, write: Callable[[Path], None]) -> Path:
    """Make a checkpoint of what `write` puts into a folder; return its final folder."""
    checkpoints.mkdir(exist_ok=True)
    name = folder_name(step)
    with held_checkpoints(checkpoints) as held:
        temporary = held / f"{TEMPORARY}{name}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            with held_folder(temporary) as folder:
                write(folder)
            _move_into_place(temporary, held / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        sync_folder(held)
    return checkpoints / name


def _write_files(
    folder: Path, state: dict[str, Any], manifest: Manifest, more: dict[str, Fingerprint]
) -> None:
    for name, written in more.items():
        if (folder / name).stat().st_size != written["bytes"]:
            raise FileNotFoundError(f"{name} was written into another folder than the checkpoint's")
    with (folder / STATE_FILE).open("xb") as file:  # which follows no link
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    files = {STATE_FILE: fingerprint(folder / STATE_FILE), **more}
    write_atomically(folder / MANIFEST_FILE, _as_json(replace(manifest, files=files)))


def keep_forever(folder: Path, manifest: Manifest) -> None:
    """Mark an existing checkpoint as one that `rotate` never removes. Raises OSError."""
    with held_checkpoints(folder.parent) as checkpoints:
        write_atomically(checkpoints / folder.name / MANIFEST_FILE, _as_json(replace(manifest, kept=True)))


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint; the first rename already makes it disappear. Raises OSError."""
    aside = removed_name(folder)
    folder.rename(aside)
    shutil.rmtree(aside)


def read_checkpoint(folder: Path, is_wanted: Wanted = everything) -> dict[str, Any]:
    """Return the state, on the CPU, after checking size and sha256. Raises CheckpointError.

    What several processes have saved together is read too, as whole tensors, where it `is_wanted`; else it is
    None.
    """
    verify(folder)
    path = folder / STATE_FILE
    try:
        # Mapped, so that no memory is allocated for tensors that the file claims but does not contain.
        mapped = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = _copied(mapped)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except UNREADABLE as error:
        raise CheckpointError(f"{path}: not a checkpoint of plain tensors and numbers") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: not the state of a training")
    fill(state, folder, is_wanted)
    return state


def read_data_record(folder: Path) -> DataRecord | None:
    """Return what a checkpoint says about its run's data; None if it cannot be read. Reads no weights."""
    try:
        with open_regular(folder / STATE_FILE):  # torch.load would wait for the writer of a FIFO
            pass
        state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True, mmap=True)
        return data_record_in(state)
    except (OSError, *UNREADABLE):
        return None


def read_batch(folder: Path) -> TrainedBatch | None:
    """Return the batch that a checkpoint was trained with; None if it cannot be read."""
    try:
        with open_regular(folder / STATE_FILE):
            pass
        state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True, mmap=True)
        size = tomllib.loads(state["preset"])["data"]["batch_size"]
        return TrainedBatch(int(size), int(state["made_with"].get("processes", "1")))
    except (OSError, *UNREADABLE):
        return None


def data_record_in(state: dict[str, Any]) -> DataRecord | None:
    """Return what the state of a checkpoint says about its run's data; None if it says nothing."""
    try:
        record = DataRecord.model_validate(state.get("data"))
    except ValidationError:
        return None
    return record if record.sets else None


def clean_leftovers(checkpoints: Path) -> None:
    """Remove what a killed save left behind, and restore a checkpoint that was about to be replaced.

    Raises CheckpointError if the folder cannot be written.
    """
    try:
        with held_checkpoints(checkpoints) as held:
            _clean(held)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CheckpointError(f"{checkpoints}: cannot be written: {error.strerror or error}") from error


def _clean(checkpoints: Path) -> None:
    for path in checkpoints.glob(f"{REPLACED}*"):
        original = checkpoints / path.name.removeprefix(REPLACED)
        if original.exists():
            shutil.rmtree(path)
        else:
            path.rename(original)
    for pattern in (f"{TEMPORARY}*", f"{REMOVED}*"):
        for path in checkpoints.glob(pattern):
            shutil.rmtree(path)
    for path in checkpoints.glob(f".*{NEW_LINK}"):
        path.unlink()
    for path in checkpoints.glob(f"*/.{MANIFEST_FILE}.*"):
        if not path.parent.is_symlink():
            path.unlink()


def newest_valid(checkpoints: Path, is_wanted: Wanted = everything) -> tuple[Path, dict[str, Any], list[str]]:
    """Return the newest intact checkpoint, its state, and what is wrong with newer ones.

    For `is_wanted`, see `read_checkpoint`. Raises CheckpointError if there is none.
    """
    problems: list[str] = []
    for folder in list_checkpoints(checkpoints):
        try:
            return folder, read_checkpoint(folder, is_wanted), problems
        except CheckpointError as error:
            problems.append(str(error))
    reasons = "; ".join(problems) or "none was saved"
    raise CheckpointError(f"{checkpoints}: no checkpoint to resume from: {reasons}")


def removed_name(folder: Path) -> Path:
    """Return a new name for a checkpoint that is to be removed; a removal that failed may have left one."""
    aside = folder.with_name(f"{REMOVED}{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    return aside


def point(checkpoints: Path, link: str, folder: Path) -> None:
    """Point the link `best` or `last` to `folder`, atomically for readers."""
    with held_checkpoints(checkpoints) as held:
        temporary = held / f".{link}{NEW_LINK}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(folder.name)
        temporary.replace(held / link)


def best_folder(checkpoints: Path, step: int) -> Path:
    """Return the folder of the best checkpoint. Raises CheckpointError if it is not that of this step."""
    folder = real_path(checkpoints / BEST)
    if read_manifest(folder).step != step:
        raise CheckpointError(f"the checkpoint of step {step:,} was not saved")
    return folder


def relink(checkpoints: Path, last: Path, best: Path) -> None:
    """Repair the links for a resume from `last`: a kill may have come between a rename and its link."""
    point(checkpoints, LAST, last)
    if best.is_dir():
        point(checkpoints, BEST, best)
    elif not (checkpoints / BEST).exists():
        (checkpoints / BEST).unlink(missing_ok=True)


def rotate(checkpoints: Path, keep: int) -> None:
    """Remove all but the newest `keep`, the best, the last and those saved on request; -1 removes none."""
    if keep < 0:
        return
    with held_checkpoints(checkpoints) as held:
        linked = {(held / link).resolve().name for link in (BEST, LAST)}
        for folder in list_checkpoints(held)[keep:]:
            if folder.name not in linked and not is_kept(folder):
                remove_checkpoint(folder)


@contextmanager
def held_checkpoints(checkpoints: Path) -> Iterator[Path]:
    """Open the folder of checkpoints: a link of another user in its place or the run's is not followed."""
    with held_folder(checkpoints.parent) as run, held_folder(run / checkpoints.name) as held:
        yield held


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
    """Copy a mapped state into memory. Raises ValueError for a tensor with more elements than are stored."""
    if isinstance(value, torch.Tensor):
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"a tensor claims the shape {tuple(value.shape)}")
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_copied, value))
    return value


def is_kept(folder: Path) -> bool:
    """Whether rotation never removes a checkpoint."""
    try:
        return read_manifest(folder).kept
    except CheckpointError:
        return False
