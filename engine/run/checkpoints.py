"""The checkpoints of a run, without torch: their manifests, their verification, and the names for them."""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.files import exists, open_regular, read_regular, real_path
from torchconsole.engine.run.decoding import Timestamp, decode, parse_json
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import (
    ABANDONED,
    BEST,
    LAST,
    LINKS,
    MANIFEST_FILE,
    STATE_FILE,
    step_of_abandoned,
    step_of_name,
)
from torchconsole.engine.run.registry import find_run

FORMAT_VERSION = 2


class Fingerprint(TypedDict):
    """What identifies the content of a file; its size is in bytes."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The description of a checkpoint. Rotation never removes one that is `kept`."""

    step: int
    epoch: int
    revision: int
    kept: bool
    metrics: dict[str, float | None]
    format_version: int = FORMAT_VERSION
    created: Timestamp = field(default_factory=time.time)
    torch: str = ""
    best_step: int | None = None
    """The step of the best evaluation up to this checkpoint."""
    files: dict[str, Fingerprint] = field(default_factory=dict)
    made_by: str = ""
    """The library whose format the files have; empty for torchconsole's own."""
    location: str = ""
    """The folder of the files, if they are not beside the manifest."""
    resume: str = ""
    """The line of code that resumes from it. PATH stands for the file, or for the folder of several files."""

    @property
    def bytes(self) -> int:
        """The total size of the files, in bytes."""
        return sum(file["bytes"] for file in self.files.values())


class _OtherFormatError(CheckpointError):
    """The checkpoint is not damaged, but only another library can read it."""


def folder_name(step: int) -> str:
    """Return a checkpoint's folder name, padded so that names sort like steps."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """Return the step in the name of a checkpoint folder; -1 for any other folder."""
    return step_of_name(folder.name)


def list_checkpoints(checkpoints: Path) -> list[Path]:
    """List the checkpoint folders, newest first, by step and not by file time."""
    found = [path for path in checkpoints.glob("step-*") if step_of(path) >= 0]
    return sorted(found, key=step_of, reverse=True)


def list_abandoned(checkpoints: Path) -> list[Path]:
    """List the checkpoints that were kept when the run was rolled back beyond them, newest first."""
    found = [path for path in checkpoints.glob(f"{ABANDONED}*") if step_of_abandoned(path.name) >= 0]
    return sorted(found, key=lambda path: step_of_abandoned(path.name), reverse=True)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a checkpoint. Raises CheckpointError if it is missing or cannot be read."""
    try:
        content = parse_json(read_regular(folder / MANIFEST_FILE))
        version = content["format_version"]
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{folder}: its format {version} is newer than this program's ({FORMAT_VERSION}); "
                "use a newer torchconsole"
            )
        if version < FORMAT_VERSION:
            raise CheckpointError(
                f"{folder}: its format {version} is that of an older torchconsole, which counted schedules "
                "and scaled targets in another way; use that version, or start a new run"
            )
        return decode(Manifest, content)
    except OSError as error:
        raise CheckpointError(f"{folder}: is not a complete checkpoint: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{folder}: {MANIFEST_FILE} is damaged") from error


def verify(folder: Path) -> Manifest:
    """Compare the sizes and sha256 of the state's files with the manifest, and return the manifest.

    Raises CheckpointError, with the file that is missing or damaged, or if another library wrote the state.
    """
    manifest = read_manifest(folder)
    if manifest.made_by:
        resume = f"; to resume from it: {resume_line(folder, manifest)}" if manifest.resume else ""
        raise _OtherFormatError(f"{folder}: is a checkpoint of {manifest.made_by}{resume}")
    for name in dict.fromkeys([STATE_FILE, *manifest.files]):
        _verify_file(folder / name, manifest.files.get(name))
    return manifest


def verify_files(folder: Path) -> Manifest:
    """Compare all files with the manifest, also those of another library's checkpoint.

    Raises CheckpointError, with the file that is missing or damaged.
    """
    manifest = read_manifest(folder)
    if not manifest.made_by:
        return verify(folder)
    place = files_folder(folder, manifest)
    if not place.is_dir():
        raise CheckpointError(f"{place}: was removed, or is on a disk that is away")
    for name, expected in manifest.files.items():
        _verify_file(place / name, expected)
    return manifest


def _verify_file(path: Path, expected: Fingerprint | None) -> None:
    try:
        is_as_expected = (
            expected and path.stat().st_size == expected["bytes"] and fingerprint(path) == expected
        )
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not is_as_expected:
        raise CheckpointError(f"{path}: is damaged: its size or sha256 differs from the manifest")


def files_folder(folder: Path, manifest: Manifest) -> Path:
    """Return the folder that holds a checkpoint's files."""
    return Path(manifest.location) if manifest.location else folder


def resume_line(folder: Path, manifest: Manifest) -> str:
    """Return the line of code that resumes from another library's checkpoint; empty if there is none."""
    place = files_folder(folder, manifest)
    path = place / next(iter(manifest.files)) if len(manifest.files) == 1 else place
    return manifest.resume.replace("PATH", repr(str(path)))


def verified(folder: Path) -> Path:
    """Resolve links and verify a checkpoint. Raises CheckpointError that suggests an older one."""
    folder = real_path(folder)
    try:
        verify(folder)
    except _OtherFormatError:
        raise
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {suggest_older(folder)}") from error
    return folder


def suggest_older(folder: Path) -> str:
    """Return advice for a damaged checkpoint: which one to use instead."""
    older = older_intact(folder)
    return f"use the one before it: {older}" if older else "there is no valid checkpoint before it"


def older_intact(folder: Path) -> Path | None:
    """Return the newest checkpoint before this one that is complete and undamaged."""
    for older in list_checkpoints(folder.parent):
        if step_of(older) < step_of(folder):
            with suppress(CheckpointError):
                verify(older)
                return older
    return None


def fingerprint(path: Path) -> Fingerprint:
    """Return the size and sha256 of a file. Raises OSError."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return Fingerprint(bytes=size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class Target:
    """What an argument RUN or CHECKPOINT refers to; `run` is None for a checkpoint outside any run folder.

    `checkpoint` may be a link, which a live run can change at any time.
    """

    run: RunFolder | None
    checkpoint: Path | None

    def pick(self, default: str = BEST) -> Path:
        """Return the named checkpoint, else the run's `default` (best or last), else its newest.

        Raises CheckpointError if the run has none.
        """
        if self.checkpoint is not None:
            return self.checkpoint
        assert self.run is not None
        link = self.run.checkpoints / default
        return link if link.is_dir() else newest(self.run)


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint in a listing. `problem` is empty if it is complete and undamaged."""

    name: str
    path: str
    step: int
    epoch: int | None
    best: bool
    last: bool
    kept: bool
    metrics: dict[str, float | None]
    bytes: int | None
    created: float | None
    problem: str
    made_by: str = ""
    """The library whose format it has; empty for torchconsole's own."""
    resume: str = ""
    """The line of code that resumes from another library's checkpoint."""
    abandoned: bool = False
    """Whether it was kept when the run was rolled back beyond it."""


def find_target(text: str, runs_dir: Path | None = None) -> Target:
    """Find the run or checkpoint that `text` names.

    A checkpoint is given as its folder, RUN@STEP, RUN@best, RUN@last or RUN/checkpoints/NAME; anything else
    is a run. Of a preset's runs, the newest one that is live or has a checkpoint. Raises RunError and
    CheckpointError.
    """
    path = Path(text).absolute()
    if _looks_like_checkpoint(path):
        run = RunFolder(path.parent.parent)
        return Target(run if exists(run.run_file) else None, path)
    for separator in ("@", "/checkpoints/"):
        name, found, which = text.rpartition(separator)
        if found and not exists(RunFolder(path).run_file):
            run = find_run(name, runs_dir, by_preset="newest saved")
            return Target(run, checkpoint_of(run, which))
    return Target(find_run(text, runs_dir, by_preset="newest saved"), None)


def newest(run: RunFolder) -> Path:
    """Return the newest checkpoint of a run, damaged or not. Raises CheckpointError if there is none."""
    found = list_checkpoints(run.checkpoints)
    if not found:
        raise CheckpointError(f"{run.name}: the run has no checkpoint")
    return found[0]


def newest_intact(run: RunFolder) -> Path | None:
    """Return the checkpoint that a resume continues from: the newest one that is complete and undamaged."""
    for folder in list_checkpoints(run.checkpoints):
        with suppress(CheckpointError, OSError):
            verify(folder)
            return folder
    return None


def describe_checkpoints(run: RunFolder) -> list[CheckpointInfo]:
    """List the checkpoints of a run, newest first, each checked against its sha256."""
    return CheckpointReader(run).read()


class CheckpointReader:
    """Lists the checkpoints of a run again and again, and reads those again that have changed."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._known: dict[Path, tuple[tuple[int, ...], CheckpointInfo]] = {}

    def read(self) -> list[CheckpointInfo]:
        """Return the checkpoints, newest first, each checked against its sha256.

        Those that the run was rolled back beyond come last.
        """
        checkpoints = self._run.checkpoints
        linked = {link: real_path(checkpoints / link) for link in LINKS}
        described: dict[Path, tuple[tuple[int, ...], CheckpointInfo]] = {}
        for folder in [*list_checkpoints(checkpoints), *list_abandoned(checkpoints)]:
            identity = _identity(folder)
            known = self._known.get(folder)
            if known is not None and known[0] == identity:
                info = _with_roles(known[1], folder, linked)
            else:
                info = _with_roles(_describe(folder), folder, linked)
            if folder.exists():  # a live run may have removed it just now
                described[folder] = identity, info
        self._known = described
        return [info for _, info in described.values()]


def _identity(folder: Path) -> tuple[int, ...]:
    """Return what changes with the files of a checkpoint; empty parts for files that are not there."""
    paths = [folder / MANIFEST_FILE, folder / STATE_FILE]
    with suppress(CheckpointError):
        manifest = read_manifest(folder)
        if manifest.files:
            paths[1:] = [files_folder(folder, manifest) / name for name in manifest.files]
    identity: list[int] = []
    for path in paths:
        with suppress(OSError):
            found = path.stat()
            identity += [found.st_ino, found.st_size, found.st_mtime_ns]
    return tuple(identity)


def _with_roles(info: CheckpointInfo, folder: Path, linked: dict[str, Path]) -> CheckpointInfo:
    """Return a description with which of the links point to the checkpoint now."""
    path = real_path(folder)
    return replace(info, best=linked[BEST] == path, last=linked[LAST] == path)


def _describe(folder: Path) -> CheckpointInfo:
    manifest, problem, abandoned = None, "", step_of_abandoned(folder.name)
    try:
        manifest = read_manifest(folder)
        verify_files(folder)
    except CheckpointError as error:
        problem = str(error)
        if problem.startswith(str(folder)):
            problem = problem.removeprefix(str(folder)).lstrip("/: ")
    return CheckpointInfo(
        name=folder.name,
        path=str(folder),
        step=max(step_of(folder), abandoned),
        epoch=manifest.epoch if manifest else None,
        best=False,
        last=False,
        kept=bool(manifest and manifest.kept),
        metrics=manifest.metrics if manifest else {},
        bytes=manifest.bytes if manifest else None,
        created=manifest.created if manifest else None,
        problem=problem,
        made_by=manifest.made_by if manifest else "",
        resume=resume_line(folder, manifest) if manifest else "",
        abandoned=abandoned >= 0,
    )


def _looks_like_checkpoint(path: Path) -> bool:
    try:
        return path.is_dir() and (exists(path / MANIFEST_FILE) or path.parent.name == "checkpoints")
    except OSError:  # in a folder that is closed: then it may still be the name of a run
        return False


def checkpoint_of(run: RunFolder, which: str) -> Path:
    """Return a run's checkpoint by its link, its step or its name. Raises CheckpointError."""
    match = re.fullmatch(r"(?:step-)?(\d{1,18})", which)
    path = run.checkpoints / (folder_name(int(match[1])) if match else which)
    if not (match or which in LINKS or step_of_abandoned(which) >= 0) or not path.is_dir():
        names = [found.name for found in list_checkpoints(run.checkpoints)]
        links = [link for link in LINKS if exists(run.checkpoints / link)]
        available = f"available: {', '.join([*links, *names])}" if names else "the run has none"
        raise CheckpointError(f"{run.name}: no checkpoint {which!r}; {available}")
    return path
