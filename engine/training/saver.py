"""Writes checkpoints beside the loop, in a thread of its own: training waits only for a copy of its state."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.manifest import BEST, LAST, Manifest, folder_name, read_manifest
from torchconsole.engine.protocol.events import (
    Best,
    CheckpointFailed,
    CheckpointSaved,
    CommandApplied,
    CommandRejected,
    Event,
)
from torchconsole.engine.training.checkpoint import keep_forever, read_checkpoint, write_checkpoint
from torchconsole.engine.training.control import Request
from torchconsole.engine.training.retention import point, rotate

log = logging.getLogger(__name__)

Reason = Literal["best", "last", "command", "stop"]


@dataclass
class SaveJob:
    """A state on the host, and what it is saved for."""

    state: dict[str, Any]
    manifest: Manifest
    reason: Reason
    best: Best | None
    requests: list[Request] = field(default_factory=list)


class CheckpointSaver(threading.Thread):
    """Takes one job after the other. A waiting `best` or `last` gives way to a newer one of its kind."""

    def __init__(self, checkpoints: Path, keep: int, emit: Callable[[Event], None]) -> None:
        super().__init__(name="checkpoints", daemon=True)
        self._checkpoints = checkpoints
        self._keep = keep
        self._emit = emit
        self._changed = threading.Condition()
        self._waiting: list[SaveJob] = []
        self._busy = False
        self._written: tuple[int, int] | None = None

    def submit(self, job: SaveJob) -> None:
        """Hand in a state that nobody changes any more."""
        with self._changed:
            if job.reason in ("best", "last"):
                self._waiting = [waiting for waiting in self._waiting if waiting.reason != job.reason]
            self._waiting.append(job)
            self._changed.notify_all()

    def read_best(self) -> dict[str, Any]:
        """The state that the link `best` points to. Raises CheckpointError."""
        return read_checkpoint(self._checkpoints / BEST)

    def flush(self) -> None:
        """Wait until everything that was handed in is on disk, or has failed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._busy)

    def run(self) -> None:
        """Thread body: ends with the process."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                job = self._waiting.pop(0)
                self._busy = True
            try:
                self._save(job)
            except Exception as error:
                # Whatever it was, those who wait must be answered and the next save tried.
                log.exception("a checkpoint was not saved")
                self._report_failure(job, error)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _save(self, job: SaveJob) -> None:
        begin = time.perf_counter()
        folder = self._write(job)
        point(self._checkpoints, LAST, folder)
        if job.reason == "best":
            point(self._checkpoints, BEST, folder)
        rotate(self._checkpoints, self._keep)
        self._report(job, folder, time.perf_counter() - begin)

    def _write(self, job: SaveJob) -> Path:
        """Write the state, unless this very state was the last one written here."""
        manifest = job.manifest
        folder = self._checkpoints / folder_name(manifest.step)
        there = _manifest_of(folder)
        if there is None or self._written != (manifest.step, manifest.revision):
            kept = manifest.kept or (there is not None and there.kept)
            folder = write_checkpoint(self._checkpoints, job.state, replace(manifest, kept=kept))
            self._written = (manifest.step, manifest.revision)
        elif manifest.kept and not there.kept:
            keep_forever(folder, there)
        return folder

    def _report(self, job: SaveJob, folder: Path, seconds: float) -> None:
        manifest = job.manifest
        self._emit(
            CheckpointSaved(
                step=manifest.step,
                epoch=manifest.epoch,
                name=folder.name,
                reason=job.reason,
                best=job.best,
                seconds=seconds,
            )
        )
        for id, command, by in job.requests:
            self._emit(
                CommandApplied(
                    id=id,
                    command=command,
                    step=manifest.step,
                    by=by,
                    detail=f"saved {folder.name}",
                    result={"checkpoint": str(folder)},
                )
            )

    def _report_failure(self, job: SaveJob, error: Exception) -> None:
        reason = f"checkpoint at step {job.manifest.step} not saved: {_cause(error)}"
        self._emit(CheckpointFailed(step=job.manifest.step, reason=reason))
        for request in job.requests:
            self._emit(CommandRejected(id=request.id, reason=reason))


def to_host(state: Any) -> Any:
    """A deep copy of a state with every tensor on the CPU, so that training may go on changing its own.

    The host waits for the device here: once a save.
    """
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: to_host(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(to_host(value) for value in state)
    return state


def _manifest_of(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except CheckpointError:
        return None


def _cause(error: Exception) -> str:
    """One line; torch reports a full disk as a RuntimeError about its own file format."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return (str(error).strip() or type(error).__name__).splitlines()[0]
