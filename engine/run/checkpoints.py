"""Finds and lists the checkpoints of a run for commands, without torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.manifest import (
    BEST,
    LAST,
    MANIFEST_FILE,
    folder_name,
    list_checkpoints,
    read_manifest,
    step_of,
    verify,
)
from torchconsole.engine.run.registry import find_run

LINKS = (BEST, LAST)
_STEP = re.compile(r"(?:step-)?(\d+)")


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


def find_target(text: str, runs_dir: Path | None = None) -> Target:
    """Find the run or checkpoint that `text` names.

    A checkpoint is given as its folder, RUN@STEP, RUN@best, RUN@last or RUN/checkpoints/NAME; anything else
    is a run. Raises RunError and CheckpointError.
    """
    path = Path(text).absolute()
    if _looks_like_checkpoint(path):
        run = RunFolder(path.parent.parent)
        return Target(run if run.run_file.exists() else None, path)
    for separator in ("@", "/checkpoints/"):
        name, found, which = text.rpartition(separator)
        if found and not RunFolder(path).run_file.exists():
            run = find_run(name, runs_dir)
            return Target(run, _checkpoint_of(run, which))
    return Target(find_run(text, runs_dir), None)


def newest(run: RunFolder) -> Path:
    """Return the newest checkpoint of a run, damaged or not. Raises CheckpointError if there is none."""
    found = list_checkpoints(run.checkpoints)
    if not found:
        raise CheckpointError(f"{run.name}: the run has no checkpoint")
    return found[0]


def describe_checkpoints(run: RunFolder) -> list[CheckpointInfo]:
    """List the checkpoints of a run, newest first, each checked against its sha256."""
    linked = {link: (run.checkpoints / link).resolve() for link in LINKS}
    described = []
    for folder in list_checkpoints(run.checkpoints):
        info = _describe(folder, linked)
        if folder.exists():  # a live run may have removed it just now
            described.append(info)
    return described


def _describe(folder: Path, linked: dict[str, Path]) -> CheckpointInfo:
    manifest, problem = None, ""
    try:
        manifest = read_manifest(folder)
        verify(folder)
    except CheckpointError as error:
        problem = str(error).removeprefix(f"{folder}").lstrip("/: ")
    return CheckpointInfo(
        name=folder.name,
        path=str(folder),
        step=step_of(folder),
        epoch=manifest.epoch if manifest else None,
        best=linked[BEST] == folder.resolve(),
        last=linked[LAST] == folder.resolve(),
        kept=bool(manifest and manifest.kept),
        metrics=manifest.metrics if manifest else {},
        bytes=manifest.bytes if manifest else None,
        created=manifest.created if manifest else None,
        problem=problem,
    )


def _looks_like_checkpoint(path: Path) -> bool:
    return path.is_dir() and ((path / MANIFEST_FILE).exists() or path.parent.name == "checkpoints")


def _checkpoint_of(run: RunFolder, which: str) -> Path:
    match = _STEP.fullmatch(which)
    path = run.checkpoints / (folder_name(int(match[1])) if match else which)
    if not (match or which in LINKS) or not path.is_dir():
        names = [found.name for found in list_checkpoints(run.checkpoints)]
        available = f"available: {', '.join([*LINKS, *names])}" if names else "the run has none"
        raise CheckpointError(f"{run.name}: no checkpoint {which!r}; {available}")
    return path
