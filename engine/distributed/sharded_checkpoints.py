"""Checkpoints of a sharded training: all processes write their parts together, beside the training.

The leader decides what is written, as in a training by one process. Its writer tells the others through the
job's store, and all write through torch.distributed.checkpoint (DCP), in a process group of their own. The
keys in the store are numbers; a value is the folder to write the parts into, or empty: the save is over, and
the copies that were made for it can be dropped.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from torchconsole.engine.components.shards import fill, item_at, nothing, take_shards
from torchconsole.engine.config.schema import CheckpointConfig
from torchconsole.engine.distributed.checkpoints import JointCheckpoints, no_writer
from torchconsole.engine.distributed.store import FOREVER
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.run.checkpoints import Fingerprint, Manifest, fingerprint
from torchconsole.engine.run.names import SHARDS_FILE
from torchconsole.engine.training.checkpoint import best_folder, read_checkpoint, write_checkpoint
from torchconsole.engine.training.checkpoint_writer import (
    AsyncCheckpointWriter,
    Reason,
    SaveJob,
    cause_of,
    to_host,
)
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.train_state import TrainState

if TYPE_CHECKING:
    from torchconsole.engine.distributed.job import Job

log = logging.getLogger(__name__)

WEIGHTS = ("model", "ema")

KEPT_KEYS = 8
"""Messages that stay in the store: no process is more than one save behind."""


class ShardedCheckpoints(JointCheckpoints):
    """Saves and restores a sharded state. All processes must call the methods at the same step."""

    def __init__(
        self,
        config: CheckpointConfig,
        state: TrainState,
        job: Job,
        writer: ShardedWriter | None = None,
    ) -> None:
        """The leader has the `writer`."""
        super().__init__(config, state, writer or no_writer(), job)
        self._parts = None if job.leads else PartWriter(job)
        if self._parts is not None:
            self._parts.start()

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """See `CheckpointManager`. Waits until the checkpoint before is on disk."""
        if self._job.leads:
            super().flush()
        super().save(reason, request)
        if self._parts is not None:
            self._parts.hold(to_host(take_shards(self._joint_state.state_dict())[1]))

    def flush(self) -> str:
        """See `CheckpointManager`."""
        if self._parts is None:
            return super().flush()
        with self._job.at_disk():
            self._parts.flush()
        return ""

    def restore_best(self, take_weights: Callable[[dict[str, Any]], object]) -> str:
        """See `CheckpointManager`."""
        best = self._joint_state.early_stopping.best
        if best is None:
            return ""
        if best.step != self._joint_state.progress.step:
            self.flush()
            folder, saved, problem = self._best(best.step) if self._job.leads else (None, None, "")
            folder, problem = self._job.of_leader((folder, problem))
            if folder is None:
                return f"; the best weights cannot be restored: {problem}"
            state = self._job.share_state(saved)
            if problem := self._read_parts(folder, state, WEIGHTS):
                return f"; the best weights cannot be restored: {problem}"
            take_weights(state)
        return self.restored(best)

    def read(self, name: str | None) -> tuple[Path, dict[str, Any]]:
        """See `CheckpointManager`. Each process reads its own parts."""
        self.flush()
        folder, saved = self._of_leader(name, nothing)
        state = self._job.share_state(saved)
        if problem := self._read_parts(folder, state, (*WEIGHTS, "trained", "optimizer")):
            raise CheckpointError(problem)
        return folder, state

    def _best(self, step: int) -> tuple[Path | None, dict[str, Any] | None, str]:
        """Return the folder of the best checkpoint, and its state without shards; or why there is none."""
        try:
            with self._job.at_disk():
                folder = best_folder(self.folder, step)
                return folder, read_checkpoint(folder, nothing), ""
        except CheckpointError as error:
            return None, None, str(error)

    def _read_parts(self, folder: Path, saved: dict[str, Any], entries: Collection[str]) -> str:
        """Put this process's parts of some entries into a checkpoint's state; return why that cannot be done.

        All can do it or none, whichever machine cannot read its parts. What was saved whole is sharded.
        """
        from torchconsole.engine.distributed.sharding import shard_whole

        like = self._like(entries)
        problem = ""
        try:
            with self._job.at_disk():
                # A GPU need not hold these and those that they replace at once.
                fill(saved, folder, lambda keys: _is_there(like, keys), like, device="cpu")
        except CheckpointError as error:
            problem = str(error)
        problems = [f"process {rank}: {each}" for rank, each in enumerate(self._job.gather(problem)) if each]
        if not problems:
            saved |= shard_whole({name: saved[name] for name in entries if name in saved}, like)
        return "; ".join(problems)

    def _like(self, entries: Collection[str]) -> dict[str, Any]:
        """Return entries of a state with tensors that are sharded as those of a checkpoint are to be."""
        now = self._joint_state.state_dict()
        weights = {name: now[name] for name in WEIGHTS if now.get(name)}
        like = weights | {"trained": weights}
        if "optimizer" in entries:
            known = enumerate(self._joint_state.optimized)
            like["optimizer"] = {"state": {number: _Anything(weight) for number, weight in known}}
        return {name: like[name] for name in entries if name in like}


class _Anything(dict[str, Tensor]):
    """What an optimizer may know of a weight, whatever it is called, is sharded as the weight is."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self._weight = weight

    def __missing__(self, key: str) -> Tensor:
        return self._weight


def _is_there(like: dict[str, Any], keys: list[str | int]) -> bool:
    """Whether a state has a place for a shard: not for an average of a training that has none any more."""
    try:
        item_at(like, keys)
    except KeyError:
        return False
    return True


class ShardedWriter(AsyncCheckpointWriter):
    """The leader's writer: it has all processes write their parts, and then makes a checkpoint of them.

    A checkpoint that cannot be written is not tried again: the others have dropped their copies.
    """

    def __init__(self, job: Job, *arguments: Any) -> None:
        """`arguments`: those of `AsyncCheckpointWriter`."""
        super().__init__(*arguments)
        self._job = job
        self._store: Store | None = None
        self._said = 0

    def store(self, checkpoints: Path, state: dict[str, Any], manifest: Manifest) -> Path:
        """See `AsyncCheckpointWriter`."""
        plain, shards = take_shards(state)

        def write_parts(folder: Path) -> dict[str, Fingerprint]:
            self._say(str(folder))
            return write_together(shards, folder, self._job)

        return write_checkpoint(checkpoints, plain, manifest, write_parts)

    def _save(self, job: SaveJob) -> None:
        try:
            super()._save(job)
        finally:
            with suppress(dist.DistError):  # the store is gone at the end of the job
                self._say("")

    def _report_failure(self, job: SaveJob, error: Exception) -> None:
        super()._report_failure(job, error)
        with self._changed:
            self._unsaved_best = None

    def _say(self, folder: str) -> None:
        if self._store is None:
            self._store = self._job.save_store()
        self._store.set(str(self._said), folder)
        if self._said >= KEPT_KEYS:
            self._store.delete_key(str(self._said - KEPT_KEYS))
        self._said += 1


class PartWriter(threading.Thread):
    """Writes this process's parts, when the leader's writer says so."""

    def __init__(self, job: Job) -> None:
        super().__init__(name="checkpoints", daemon=True)
        self._job = job
        self._store = job.save_store()
        self._changed = threading.Condition()
        self._parts: dict[str, Tensor] = {}
        self._held = 0
        self._dropped = 0
        self._has_ended = False

    def hold(self, parts: dict[str, Tensor]) -> None:
        """Keep a copy of the parts, on the host, until the save is over."""
        with self._changed:
            self._held += 1
            self._parts = parts if self._held > self._dropped else {}
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until every save is over, or the leader has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._dropped >= self._held or self._has_ended)

    def run(self) -> None:
        """Write until the store is gone."""
        with suppress(dist.DistError):
            for number in itertools.count():
                key = str(number)
                self._store.wait([key], FOREVER)
                folder = self._store.get(key).decode()
                self._write(Path(folder)) if folder else self._drop()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _write(self, folder: Path) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._held > self._dropped)
            parts = self._parts
        try:
            write_together(parts, folder, self._job)
        except (OSError, RuntimeError) as error:
            log.debug("the leader reports that a checkpoint was not saved: %s", error)

    def _drop(self) -> None:
        with self._changed:
            self._dropped += 1
            if self._dropped >= self._held:
                self._parts = {}
            self._changed.notify_all()


def write_together(parts: dict[str, Tensor], folder: Path, job: Job) -> dict[str, Fingerprint]:
    """Write this process's parts into a folder, and return what identifies the files of all processes.

    All processes must call this. Raises OSError if one of them fails, which is FileNotFoundError if there is
    no such folder, and RuntimeError if a process is gone.
    """
    try:
        save(cast("Any", parts), storage_writer=_Writer(folder), process_group=job.saves)
    except CheckpointException as error:  # no Exception
        raise _failure({rank: why for rank, (why, _) in error.failures.items()}) from error
    found: list[Any] = [None] * job.size
    dist.all_gather_object(found, _fingerprints(folder, job.rank), group=job.saves)
    if problems := {rank: each for rank, each in enumerate(found) if isinstance(each, OSError)}:
        raise _failure(problems)
    return {name: print_ for each in found for name, print_ in each.items()}


def _failure(reasons: Mapping[int, BaseException]) -> OSError:
    """Return why processes, by their ranks, could not write."""
    is_moved = any(isinstance(reason, FileNotFoundError) for reason in reasons.values())
    message = "; ".join(f"process {rank}: {cause_of(reason)}" for rank, reason in reasons.items())
    return FileNotFoundError(message) if is_moved else OSError(message)


class _ExistingFolder(FileSystem):
    """Makes no folder: the run's may have been renamed, or its disk is not mounted on this machine."""

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        Path(path).stat()


class _Writer(FileSystemWriter):
    """Torch's writer, which reports a full disk as an error in the format of its file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fs = _ExistingFolder()

    def write_data(self, *arguments: Any) -> Any:
        try:
            return super().write_data(*arguments)
        except RuntimeError as error:
            raise OSError(cause_of(error)) from error


def _fingerprints(folder: Path, rank: int) -> dict[str, Fingerprint] | OSError:
    """Return what identifies the files that a process has written, or why it cannot be told."""
    try:
        own = [path for path in folder.iterdir() if path.name.startswith(f"__{rank}_")]
        lists = [folder / SHARDS_FILE] if rank == 0 else []
        return {path.name: fingerprint(path) for path in [*own, *lists]}
    except OSError as error:
        return error
