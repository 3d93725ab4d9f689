"""TensorBoard's event files of a run: values, histograms, confusion matrices, hyperparameters."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event as FileEvent
from tensorboard.compat.proto.event_pb2 import SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary

from torchconsole.engine.files import open_own
from torchconsole.engine.protocol.events import EvaluationCompleted, RunFailed, RunFinished, RunResumed
from torchconsole.engine.protocol.histograms import WeightHistograms
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.session.run_place import RunPlace
from torchconsole.engine.session.tracking.confusion_image import confusion_image
from torchconsole.engine.session.tracking.hyperparameters import Hyperparameters, hyperparameters
from torchconsole.engine.session.tracking.tracker import Item, first_step, values_of
from torchconsole.engine.session.tracking.worst_samples import worst_pictures, worst_table

_numbers = itertools.count()


class TensorBoardLog:
    """Writes to `tensorboard/` in the run's folder; each session of a run makes a file of its own.

    What a resume has made void is purged: the new file says from which step on the older ones do not count.
    """

    def __init__(self, place: RunPlace) -> None:
        self._place = place
        self._file: EventFile | None = None
        self._purge: int | None = None
        self._settings: Hyperparameters | None = None
        self._end: Any = None
        """The summary that ends the session for the plugin of hyperparameters, once it has begun."""

    def write(self, items: Sequence[Item]) -> None:
        """Write what TensorBoard shows of the items. Raises OSError."""
        file, purge, end = self._file, self._purge, self._end
        try:
            for item in items:
                self._add(item)
            if self._file is not None:
                self._file.flush()
        except Exception:
            # The same items come again, into a new file.
            failed = self._file if self._file is not file else None
            with suppress(OSError):
                self.close()
            if failed is not None:  # it has nothing else, and a full disk would get one for each attempt
                with suppress(OSError):
                    failed.path.unlink()
            starts = [step for step in (purge, first_step(items)) if step is not None]
            self._purge, self._end = min(starts, default=None), end
            raise

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _add(self, item: Item) -> None:
        if isinstance(item, RunResumed):
            self.close()
            self._purge = item.step + 1
        for values in values_of(item):
            for name, value in values.metrics.items():
                self._open().add(summary.scalar(name, value), values.step, values.time)
        if isinstance(item, EvaluationCompleted):
            self._add_evaluation(item)
        elif isinstance(item, RunFinished | RunFailed):
            if self._end is not None:
                self._open().add(self._end, 0, item.time)
        elif isinstance(item, WeightHistograms):
            for name, each in item.by_name.items():
                ends = (each.low, each.high, sum(each.counts), each.total, each.squares)
                found = summary.histogram_raw(name, *ends, each.edges, each.counts)
                self._open().add(found, item.step, item.time)

    def _add_evaluation(self, event: EvaluationCompleted) -> None:
        file = self._open()
        if event.confusion is not None:
            picture = summary.image("val/confusion", confusion_image(event.confusion), dataformats="HWC")
            file.add(picture, event.step, event.time)
        if event.worst:
            file.add(summary.text("val/worst", worst_table(event.worst)), event.step, event.time)
            if (pictures := worst_pictures(event.worst)) is not None:
                file.add(summary.image("val/worst", pictures, dataformats="HWC"), event.step, event.time)
        if self._end is None:
            metrics: dict[str, float | None] = dict.fromkeys(["train/loss", *event.metrics], 0.0)
            if self._settings is None:
                self._settings = hyperparameters(self._place.folder)
            begin = summary.hparams(self._settings, metrics)
            *started, self._end = begin
            for part in started:
                file.add(part, 0, event.time)

    def _open(self) -> EventFile:
        if self._file is None:
            self._file = EventFile(self._place.folder, self._purge)
            self._purge = None
        return self._file


class EventFile:
    """One event file. Unlike SummaryWriter it has no thread: a full disk is an OSError of the call."""

    def __init__(self, folder: RunFolder, purge: int | None) -> None:
        """Make the file. Steps from `purge` on do not count in older files. Raises OSError."""
        folder.tensorboard.mkdir(exist_ok=True)
        name = (
            f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
            f".{next(_numbers)}.values"
        )
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self.path = folder.tensorboard / name
        self._records = RecordWriter(os.fdopen(open_own(self.path, flags), "wb"))
        self._write(FileEvent(wall_time=time.time(), file_version="brain.Event:2"))
        if purge is not None:
            start = SessionLog(status=SessionLog.START)
            self._write(FileEvent(wall_time=time.time(), step=purge, session_log=start))

    def add(self, content: Any, step: int, at: float) -> None:
        """Add a Summary; `at` is in seconds since 1970. Raises OSError."""
        self._write(FileEvent(wall_time=at, step=step, summary=content))

    def flush(self) -> None:
        """Have the file contain all that was added. Raises OSError."""
        self._records.flush()

    def close(self) -> None:
        """Close the file. Raises OSError if the rest cannot be written; it is closed then too."""
        self._records.close()

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
