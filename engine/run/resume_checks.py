"""Checks whether an ended run has anything left to do, and copies what a branched run inherits."""

from __future__ import annotations

import math
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from pydantic_core import to_json

from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CheckpointError, RunError
from torchconsole.engine.files import open_own, open_regular
from torchconsole.engine.run.checkpoints import (
    Manifest,
    folder_name,
    list_abandoned,
    list_checkpoints,
    read_manifest,
)
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.jsonl import read_json_lines, seq_of
from torchconsole.engine.run.names import CHECKPOINT_FILES, is_shard_file, step_of_abandoned
from torchconsole.engine.run.record import EarlyStoppingDetail, RunRecord
from torchconsole.engine.run.script_runs import refuse_script, script_of


@dataclass(frozen=True)
class Spent:
    """How much a run has used of each limit that ends it."""

    epochs: int
    steps: int
    minutes: float = 0.0
    without_improvement: int = 0


def spent_by(record: RunRecord, folder: RunFolder) -> Spent:
    """Return what a run has used where it continues: at its newest checkpoint that can be read.

    What came after it, because the last save has failed, does not count. Only the record has the minutes and
    the evaluations without improvement, as they were at the end.
    """
    newest = _newest_manifest(folder)
    if newest is None:
        return Spent(epochs=0, steps=0)
    if newest.step < record.step:
        return Spent(newest.epoch, newest.step)
    stopping = record.detail("early_stopping", EarlyStoppingDetail)
    return Spent(
        epochs=newest.epoch,
        steps=newest.step,
        minutes=(record.detail("active_seconds", float) or 0.0) / 60,
        without_improvement=stopping.get("counter", 0) if stopping else 0,
    )


@dataclass(frozen=True)
class ReachedLimit:
    """A limit that ends a run as soon as it is resumed: its key and value, and how much is used."""

    key: str
    limit: float
    used: float
    what: str

    @property
    def raised(self) -> int:
        """A value with which the run goes on as long as it has until now."""
        return math.ceil(2 * self.used)


def reached_limits(preset: Preset, spent: Spent) -> list[ReachedLimit]:
    """Return the limits that a run has reached."""
    training, stopping = preset.training, preset.early_stopping
    limits = [
        ("training.epochs", training.epochs, spent.epochs, "are done"),
        ("training.max_steps", training.max_steps, spent.steps, "are done"),
        ("training.max_minutes", training.max_minutes, spent.minutes, "have passed"),
        (
            "early_stopping.patience",
            stopping.patience if stopping else None,
            spent.without_improvement,
            "evaluations brought no improvement",
        ),
    ]
    return [
        ReachedLimit(key, limit, used, what)
        for key, limit, used, what in limits
        if limit is not None and used >= limit
    ]


def check_unfinished(name: str, preset: Preset, spent: Spent) -> None:
    """Raise RunError if the run would end as soon as it is resumed; the message says what to set."""
    if reached := reached_limits(preset, spent):
        why = "; ".join(f"{each.key} is {each.limit:g} and {each.used:.6g} {each.what}" for each in reached)
        more = " ".join(f"--set {each.key}={each.raised}" for each in reached)
        raise RunError(f"{name} is complete: {why}; to extend it: torchconsole resume {name} {more}")


def check_resumable(folder: RunFolder, preset: Preset | None) -> RunRecord:
    """Return the record of a run that can be resumed, with another `preset` if one is given.

    Raises RunError if the run is live, or if it is finished and has nothing left to do.
    """
    record = folder.read_record()
    if record.is_live:
        raise RunError(_refusal(record, folder))
    refuse_script(folder, "resume")
    if script_of(folder) is None and (record.status == "finished" or preset is not None):
        check_unfinished(record.name, preset or read_preset(folder.preset_file), spent_by(record, folder))
    return record


def _refusal(record: RunRecord, folder: RunFolder) -> str:
    """Explain why a live run cannot be resumed, and what to do instead."""
    worker = f"pid {record.pid} on {record.host}" if record.pid else f"on {record.host}"
    status = f"{record.name} is {record.status} ({worker})"
    if record.is_here:
        return f"{status}; attach to it instead: torchconsole attach {record.name}"
    return (
        f"{status}, according to its record; attach to it there, or, if that worker no longer exists, "
        f'set "status" to "lost" in {folder.run_file} and resume again'
    )


def inherit(parent: RunFolder, checkpoint: Path, folder: RunFolder) -> None:
    """Give a new run the checkpoint, the best one so far, and the history. Raises OSError, CheckpointError.

    Readers drop the lines after the step from which the new run continues. Whoever owns the parent run may
    have put anything into its folders: only our own files are copied, and no folder in them is entered.
    """
    manifest = read_manifest(checkpoint)
    turns = _read_turns(parent) if step_of_abandoned(checkpoint.name) >= 0 else []
    best = _find_best(parent, manifest, turns)
    for source, step in ((checkpoint, manifest.step), (best, manifest.best_step)):
        if source is None or step is None or (target := folder.checkpoints / folder_name(step)).exists():
            continue
        target.mkdir()
        shards = [path.name for path in source.iterdir() if is_shard_file(path.name)]
        for name in (*CHECKPOINT_FILES, *shards):
            _link_or_copy(source / name, target / name)
    _, end = _way_of(manifest.step, manifest.created, turns)
    files = (parent.metrics_file, parent.journal_file)
    for file in files if end else (parent.history_file, *files):  # without a history, the lines are read
        with suppress(FileNotFoundError):
            _copy(file, folder.path / file.name, end.seq if end else None)


@dataclass(frozen=True)
class _Turn:
    """Where a run went back to an older step: what it had trained beyond is void."""

    seq: int
    time: float
    step: int


def _read_turns(run: RunFolder) -> list[_Turn]:
    """Return where a run went back, the first turn first. Raises OSError."""
    turns = []
    for line in read_json_lines(run.metrics_file):
        step, at = line.get("step"), line.get("time")
        if line.get("kind") == "resumed" and isinstance(step, int) and isinstance(at, int | float):
            turns.append(_Turn(seq_of(line), at, step))
    return turns


def _way_of(step: int, time: float, turns: list[_Turn]) -> tuple[_Turn | None, _Turn | None]:
    """Return the turns between which a run went beyond a step, on the way on which it was at a time."""
    beyond = [turn for turn in turns if turn.step < step]
    before = [turn for turn in beyond if turn.time <= time]
    after = [turn for turn in beyond if turn.time > time]
    return before[-1] if before else None, after[0] if after else None


def _find_best(parent: RunFolder, manifest: Manifest, turns: list[_Turn]) -> Path | None:
    """Return the best checkpoint up to this one; None if it is gone.

    Without `turns`, the checkpoint is on the run's present way. Otherwise another way may have a checkpoint
    of the same step.
    """
    step, checkpoints = manifest.best_step, parent.checkpoints
    if step is None:
        return None
    present = checkpoints / folder_name(step)
    if not turns:
        return present if present.is_dir() else None
    begin, end = _way_of(step, manifest.created, turns)
    others = [path for path in list_abandoned(checkpoints) if step_of_abandoned(path.name) == step]
    found: dict[float, Path] = {}
    for path in (present, *others):
        with suppress(CheckpointError):
            created = read_manifest(path).created
            if (begin is None or begin.time <= created) and (end is None or created < end.time):
                found[created] = path
    return found[max(found)] if found else None


def _newest_manifest(folder: RunFolder) -> Manifest | None:
    for checkpoint in list_checkpoints(folder.checkpoints):
        with suppress(CheckpointError):
            return read_manifest(checkpoint)
    return None


def _link_or_copy(source: Path, target: Path) -> None:
    """Make a hard link to a file of ours, which is never written to; others may change theirs: copy it."""
    try:
        with open_regular(source) as file:
            if os.fstat(file.fileno()).st_uid == os.geteuid():
                # This very file, whatever is at its path by now. An absolute path needs no src_dir_fd, but
                # without one Python calls link(2), which follows no link.
                descriptor = file.fileno()
                os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor, follow_symlinks=True)
                return
    except OSError:  # another file system, or one without hard links
        pass
    _copy(source, target)


def _copy(source: Path, target: Path, end: int | None = None) -> None:
    """Copy a file, or of one of JSON lines those before the sequence number `end`.

    A link may lead to a private file of ours: its copy is private, too.
    """
    with open_regular(source) as old:
        mode = 0o600 | (os.fstat(old.fileno()).st_mode & 0o666)
        descriptor = open_own(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as new:
            if end is None:
                shutil.copyfileobj(old, new)
                return
            for line in takewhile(lambda line: seq_of(line) < end, read_json_lines(source)):
                new.write(to_json(line) + b"\n")
