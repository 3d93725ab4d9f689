"""Writes checkpoints in a thread of its own; training waits only for a copy of its state."""

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
from torchconsole.engine.protocol.events import (
    CheckpointFailed,
    CheckpointSaved,
    Event,
)
from torchconsole.engine.protocol.info import Best
from torchconsole.engine.run.checkpoints import Manifest, folder_name, read_manifest, step_of
from torchconsole.engine.run.names import BEST, LAST
from torchconsole.engine.text import first_line
from torchconsole.engine.training.checkpoint import (
    best_folder,
    keep_forever,
    point,
    read_checkpoint,
    rotate,
    write_checkpoint,
)
from torchconsole.engine.training.command_queue import Request

log = logging.getLogger(__name__)

Reason = Literal["best", "last", "command", "stop"]

REST = 4.0
"""After a save, the next save of a new best waits this many times as long as the save took.

Otherwise the writer would keep a processor busy if a model improves in each of many short epochs.
"""


@dataclass
class SaveJob:
    """A state on the host, and why it is saved."""

    state: dict[str, Any]
    manifest: Manifest
    reason: Reason
    best: Best | None
    requests: list[Request] = field(default_factory=list)
    answered: bool = False
    is_late: bool = False
    """Whether it is a retry, so that a later state may have been written meanwhile."""


class AsyncCheckpointWriter(threading.Thread):
    """Writes one job after the other. A waiting `best` or `last` is replaced by a newer one of its kind.

    A `best` that could not be written is tried again after the next successful save. `flush_events` is
    called before anything is written: flush all events first, so that logs are never older than the
    checkpoint. `answer` is called for each request of a job with its step, and the checkpoint's folder or the
    reason why it was not saved.
    """

    def __init__(
        self,
        checkpoints: Path,
        keep: int,
        emit: Callable[[Event], None],
        flush_events: Callable[[], None] = lambda: None,
        answer: Callable[[Request, int, Path | str], None] = lambda request, step, result: None,
    ) -> None:
        super().__init__(name="checkpoints", daemon=True)
        self.failure = ""
        """Why the newest checkpoint was not saved; empty if it was."""
        self._checkpoints = checkpoints
        self.keep = keep
        """How many recent checkpoints stay after the next save; -1: all."""
        self._emit = emit
        self._flush_events = flush_events
        self._answer = answer
        self._changed = threading.Condition()
        self._waiting: list[SaveJob] = []
        self._current: SaveJob | None = None
        self._flushers = 0
        self._is_closed = False
        self._unsaved_best: SaveJob | None = None
        self._written: tuple[int, int] | None = None

    def submit(self, job: SaveJob) -> None:
        """Add a job; nobody may change its state any more."""
        with self._changed:
            if job.reason in ("best", "last"):
                self._waiting = [waiting for waiting in self._waiting if waiting.reason != job.reason]
            if job.reason == "best":
                self._unsaved_best = None
            self._waiting.append(job)
            self._changed.notify_all()

    def move_to(self, checkpoints: Path) -> None:
        """Write to another folder from now on: the run's folder was renamed."""
        self._checkpoints = checkpoints

    @property
    def folder(self) -> Path:
        """The folder of checkpoints."""
        return self._checkpoints

    def read_best(self, step: int) -> dict[str, Any]:
        """Return the state of the best evaluation, which was at this step, on disk or not yet.

        Raises CheckpointError.
        """
        with self._changed:
            unsaved = self._unsaved_best
            if unsaved is not None and unsaved.manifest.step == step:
                return unsaved.state
        return read_checkpoint(best_folder(self._checkpoints, step))

    def roll_back(self, folder: Path, revision: int) -> None:
        """Forget what would still be written of later steps, now that the training is at this checkpoint.

        Only after `flush`. The state with this `revision` is on disk already.
        """
        step = step_of(folder)
        with self._changed:
            if self._unsaved_best is not None and self._unsaved_best.manifest.step > step:
                self._unsaved_best = None
            self._written = (step, revision)

    def join_save(self, request: Request, revision: int, *, kept: bool = False) -> bool:
        """Have a requested save that is not done yet answer this request too; return False if there is none.

        Only a state of the same `revision` will do, which has every change; with `kept`, one that is kept.
        """
        with self._changed:
            for job in (self._current, *self._waiting):
                if job is None or job.answered or job.reason != "command":
                    continue
                if job.manifest.revision == revision and job.manifest.kept >= kept:
                    job.requests.append(request)
                    return True
        return False

    def flush(self) -> None:
        """Wait until every job is on disk or has failed."""
        with self._changed:
            self._flushers += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: not self._waiting and self._current is None)
            finally:
                self._flushers -= 1

    def close(self) -> None:
        """End the thread when every job is on disk or has failed; nothing is written after that."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self.join()

    def run(self) -> None:
        """Write jobs until `close` or the end of the process."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                job = self._current = self._waiting.pop(0)
            begin = time.perf_counter()
            try:
                self._save(job)
            except Exception as error:
                # Whatever the error is, the requests must be answered and the next save tried.
                if not isinstance(error, OSError | RuntimeError):
                    log.exception("a checkpoint was not saved")
                self._report_failure(job, error)
            finally:
                with self._changed:
                    self._current = None
                    self._changed.notify_all()
                    took = time.perf_counter() - begin
                    del job  # its state may be large
                    self._changed.wait_for(self._is_awaited, timeout=REST * took)

    def _is_awaited(self) -> bool:
        """Whether a save is waited for: any but that of a new best, which a newer one may make needless."""
        return self._flushers > 0 or self._is_closed or any(job.reason != "best" for job in self._waiting)

    def _save(self, job: SaveJob) -> None:
        begin = time.perf_counter()
        self._flush_events()
        checkpoints = self._checkpoints
        try:
            self._save_in(checkpoints, job, begin)
        except FileNotFoundError:
            # The run's folder may have been renamed meanwhile: the writer of the events has followed it.
            self._flush_events()
            if self._checkpoints == checkpoints:
                raise
            self._save_in(self._checkpoints, job, begin)

    def _save_in(self, checkpoints: Path, job: SaveJob, begin: float) -> None:
        folder = self._write(checkpoints, job)
        if not job.is_late:
            point(checkpoints, LAST, folder)
        if job.reason == "best":
            point(checkpoints, BEST, folder)
        self._rotate()
        self._report(job, folder, time.perf_counter() - begin)
        self._retry_best()

    def _write(self, checkpoints: Path, job: SaveJob) -> Path:
        """Write the state, unless exactly this state was the last one written."""
        manifest = job.manifest
        folder = checkpoints / folder_name(manifest.step)
        existing = _manifest_of(folder)
        is_written = job.is_late or self._written == (manifest.step, manifest.revision)
        if existing is None or not is_written:
            kept = manifest.kept or (existing is not None and existing.kept)
            folder = self.store(checkpoints, job.state, replace(manifest, kept=kept))
            self._written = (manifest.step, manifest.revision)
        elif manifest.kept and not existing.kept:
            keep_forever(folder, existing)
        return folder

    def store(self, checkpoints: Path, state: dict[str, Any], manifest: Manifest) -> Path:
        """Write a checkpoint and return its folder. Raises OSError and RuntimeError."""
        return write_checkpoint(checkpoints, state, manifest)

    def _rotate(self) -> None:
        """Remove old checkpoints; the save succeeded whether or not they can be removed."""
        try:
            rotate(self._checkpoints, self.keep)
        except OSError as error:
            log.warning("cannot remove an older checkpoint: %s", error)

    def _retry_best(self) -> None:
        with self._changed:
            if self._unsaved_best is not None:
                self._waiting.append(self._unsaved_best)
                self._unsaved_best = None

    def _report(self, job: SaveJob, folder: Path, seconds: float) -> None:
        manifest = job.manifest
        self.failure = ""
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
        for request in self._requests_of(job):
            self._answer(request, manifest.step, folder)

    def _report_failure(self, job: SaveJob, error: Exception) -> None:
        step = job.manifest.step
        reason = f"checkpoint at step {step:,} not saved: {cause_of(error)} ({self._checkpoints})"
        self.failure = reason
        self._emit(CheckpointFailed(step=step, reason=reason))
        for request in self._requests_of(job):
            self._answer(request, step, reason)
        with self._changed:
            if job.reason == "best" and all(waiting.reason != "best" for waiting in self._waiting):
                self._unsaved_best = replace(job, is_late=True)

    def _requests_of(self, job: SaveJob) -> list[Request]:
        """Return the requests to answer; none can join this save from here on."""
        with self._changed:
            job.answered = True
            return job.requests


def to_host(state: Any) -> Any:
    """Return a deep copy of a state with every tensor on the CPU, so that training can go on.

    The host waits for the device here, once a save.
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


def cause_of(error: BaseException) -> str:
    """Describe an error in one line; torch reports a full disk as a RuntimeError about its file format."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return first_line(error)
