"""Checkpoints that a framework writes in its own format, listed among those of the run."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from torchconsole.engine.protocol.events import CheckpointFailed, CheckpointSaved
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.run.checkpoints import Manifest
from torchconsole.engine.run.names import LAST, SAVING
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.text import os_error_summary
from torchconsole.engine.training.checkpoint import point, record_checkpoint
from torchconsole.engine.training.checkpoint_writer import Reason
from torchconsole.engine.training.command_handler import answer_saves
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.progress import Progress


class SaveByFrameworkError(Exception):
    """Leaves the run's loop of commands, even while it is paused, so that the framework can save."""


class FrameworkCheckpoints(ABC):
    """Has the framework save what a command or a stop asks for, and records it in the run's folder.

    Satisfies `command_handler.Saves`. The files are compared and described in another thread.
    """

    def __init__(self, made_by: str, resume: str) -> None:
        self.metrics: Metrics = {}
        """The newest evaluation."""
        self._made_by = made_by
        self._resume = resume
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None

    def open(self, folder: Path, progress: Progress, events: EventQueue, *, writes: bool = True) -> None:
        """Begin to save into the folder of a run, which has come as far as `progress` says.

        Of several processes, all have the framework save, but only the first one `writes` into that folder.
        """
        self.folder = folder
        self.writes = writes
        self._progress = progress
        self._events = events
        self._answer = answer_saves(events.emit)

    @abstractmethod
    def save(self, reason: Reason, request: Request | None = None) -> None:
        """Save, if it was asked for or the run stops."""

    def flush(self) -> None:
        """Wait until everything is on disk."""
        if self._writing is not None:
            self._writing.result()

    def move_to(self, folder: Path) -> None:
        """Save to another folder from now on: the run's folder was renamed."""
        self.folder = folder

    def record(
        self, files: list[Path], reason: Reason, requests: list[Request], began: float, location: str = ""
    ) -> None:
        """Record files that the framework has written since `began` (time.monotonic)."""
        if not self.writes:
            return
        progress = self._progress
        manifest = Manifest(
            step=progress.step,
            epoch=progress.epoch,
            revision=progress.revision,
            kept=reason == "command",
            metrics=self.metrics,
            torch=str(torch.__version__),
            made_by=self._made_by,
            location=location,
            resume=self._resume,
        )

        def write() -> None:
            try:
                self._events.flush()  # logs are never older than the checkpoint
                folder = record_checkpoint(self.folder, manifest, files)
                point(self.folder, LAST, folder)
            except OSError as error:
                self.fail(os_error_summary(error), requests)
                return
            self._events.emit(
                CheckpointSaved(
                    step=manifest.step,
                    epoch=manifest.epoch,
                    name=folder.name,
                    reason=reason,
                    seconds=time.monotonic() - began,
                )
            )
            for request in requests:
                self._answer(request, manifest.step, Path(location) if location else folder)

        self.flush()
        self._writing = self._thread.submit(write)

    def fail(self, cause: str, requests: list[Request]) -> None:
        """Report that a checkpoint was not saved."""
        step = self._progress.step
        reason = f"checkpoint at step {step:,} not saved: {cause} ({self.folder})"
        self._events.emit(CheckpointFailed(step=step, reason=reason))
        for request in requests:
            self._answer(request, step, reason)


class ImmediateCheckpoints(FrameworkCheckpoints):
    """Calls the framework to write one file, `name`, at once."""

    def __init__(self, made_by: str, resume: str, name: str, write: Callable[[Path], None]) -> None:
        super().__init__(made_by, resume)
        self._name = name
        self._write = write

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """Write the file, and record it."""
        if reason not in ("command", "stop"):
            return
        self.flush()
        began = time.monotonic()
        requests = [request] if request else []
        folder = self.folder / SAVING
        try:
            if self.writes:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
            self._write(folder / self._name)
        except (OSError, RuntimeError) as error:
            self.fail(os_error_summary(error) if isinstance(error, OSError) else str(error), requests)
            return
        self.record([folder / self._name], reason, requests, began)


class DeferredCheckpoints(FrameworkCheckpoints):
    """Has the framework save in its own loop: `is_wanted` until it reports `saved`."""

    def __init__(self, made_by: str, resume: str) -> None:
        super().__init__(made_by, resume)
        self._reason: Reason | None = None
        self._requests: list[Request] = []
        self._began = 0.0
        self._saved: tuple[int, Path] | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether the framework should save now."""
        return self._reason is not None

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """Note what is wanted. Raises SaveByFrameworkError for a command, which may come during a pause."""
        if reason not in ("command", "stop"):
            return
        if request and self._saved and self._saved[0] == self._progress.step:
            self._answer(request, *self._saved)
            return
        self._reason = reason if self._reason is None else self._reason
        self._requests += [request] if request else []
        self._began = time.monotonic()
        if reason == "command":
            raise SaveByFrameworkError

    def refuse_rest(self, reason: str) -> None:
        """Reject what the framework did not save."""
        if self._reason is not None:
            self.fail(reason, self._requests)
        self._reason, self._requests = None, []

    def saved(self, folder: Path) -> None:
        """Record what the framework has saved into a folder, if it was asked for."""
        reason, requests = self._reason, self._requests
        self._reason, self._requests = None, []
        if reason is None:
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._saved = self._progress.step, folder
        self.record(files, reason, requests, self._began, location=str(folder))
