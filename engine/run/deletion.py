"""Deletes runs that have ended: what torchconsole wrote into their folders, and on request everything.

The folder is renamed first, so that nobody starts the run meanwhile; run.json and the folder go last.
Whatever an interruption leaves is therefore listed as a run that is partly deleted, until nothing is left.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import real_path
from torchconsole.engine.run import names
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock, is_lock_file, lock_holder, lock_of_ended
from torchconsole.engine.run.record import RunRecord, load_record
from torchconsole.engine.run.registry import is_absent, unregister
from torchconsole.engine.run.sweep import is_closed, sweep
from torchconsole.engine.user_folders import home_folder

MOST_NAMES = 8
"""Number of files that a message names."""

MOUNTS = Path("/proc/self/mountinfo")

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Deletion:
    """A deletion that is done. `left` are the names of what was not ours.

    `is_absent`: the folder is not there, so that the run was only removed from the registry.
    """

    folder: Path
    left: Sequence[str]
    is_absent: bool = False

    def __str__(self) -> str:
        if self.is_absent:
            return f"removed {self.folder} from your runs"
        if not self.left:
            return f"deleted {self.folder}"
        return f"deleted the run in {self.folder}; left in place: {list_names(self.left)}"


def list_names(found: Sequence[str]) -> str:
    """List names for a message, the first ones if there are many."""
    more = len(found) - MOST_NAMES
    return ", ".join(found[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def question(folder: RunFolder, *, everything: bool = False) -> str:
    """Return the question to ask before a run is deleted. Raises RunError as `delete_run` does."""
    if is_absent(folder):
        return f"{folder.path} is not there. Remove it from your runs, without deleting any file?"
    with _checked(folder) as (folder, descriptor, _):
        foreign = list_names(sweep(descriptor, remove=False))
    path = folder.original.path
    if not foreign:
        return f"Delete {path} with all its checkpoints?"
    if everything:
        return f"Delete {path} with all its checkpoints, and also {foreign}?"
    return f"Delete the run in {path} with all its checkpoints? What is not torchconsole's stays: {foreign}"


def delete_run(folder: RunFolder, *, everything: bool = False) -> Deletion:
    """Remove an ended run: what torchconsole wrote, and with `everything` all other files in its folder too.

    Also finishes a deletion that was interrupted. A run whose disk is away, or that was deleted together with
    its folder of runs, is removed from the registry only. Raises RunError if it is not a run, for a live run,
    for a folder that is needed for something else, or if it cannot be removed.
    """
    if is_absent(folder):
        with _errors(folder.path):
            unregister(folder)
        return Deletion(folder.path, [], is_absent=True)
    with (
        _checked(folder) as (folder, descriptor, written),
        lock_of_ended(folder.lock_file, folder.original.name) as lock,
    ):
        return _remove(folder, descriptor, written, lock, everything=everything)


def remove_refused(folder: RunFolder, lock: WorkerLock) -> None:
    """Remove a new run whose worker has refused to start. For its worker. Raises RunError."""
    with _errors(folder.path), _opened(folder.path) as descriptor:
        _remove(folder, descriptor, None, lock, everything=False)


def _remove(
    folder: RunFolder, descriptor: int, before: RunRecord | None, lock: WorkerLock | None, *, everything: bool
) -> Deletion:
    """Remove the run in an open folder. `before` is its record: if it has changed, the run was started."""
    aside, original = folder.aside, folder.original
    if folder != aside:
        if os.path.lexists(aside.path):
            raise RunError(f"{aside.path} is in the way; `torchconsole delete {aside.path}` removes it")
        folder.path.rename(aside.path)
        path = aside.lock_file
        is_locked = lock is None and is_lock_file(path) and lock_holder(path) is not None
        if before is not None and (is_locked or _has_changed(aside, before)):
            aside.path.rename(folder.path)
            raise RunError(f"{folder.name} has just been started or deleted; see `torchconsole runs`")
    if removes := aside.run_file.exists():
        sweep(descriptor, remove=True, everything=everything)
        # On NFS a folder cannot be removed while a file in it is open.
        if lock is not None:
            lock.release()
        for name in (names.LOCK_FILE, names.RUN_FILE):
            _unlink(name, descriptor)
    left: list[str] = []
    with suppress(FileNotFoundError):  # another process may do the same now
        left = sweep(descriptor, remove=False)
        if removes:  # a resume that came too late may have made a new lock
            _unlink(names.LOCK_FILE, descriptor)
        left = left or sorted(os.listdir(descriptor))
        if left:
            aside.path.rename(original.path)
        else:
            aside.path.rmdir()
    with suppress(OSError):  # an entry without a run is removed by the next listing
        unregister(original)
    return Deletion(original.path, left)


def _unlink(name: str, folder: int) -> None:
    """Remove a file, if it is there and no folder: that would not be ours."""
    with suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(name, dir_fd=folder)


def _has_changed(aside: RunFolder, before: RunRecord) -> bool:
    """Whether somebody has started or deleted the run since its record was read."""
    try:
        now = load_record(aside.run_file)
    except RunError:  # another deletion has just finished
        return True
    return replace(now, name=before.name, folder=before.folder) != before


@contextmanager
def _checked(folder: RunFolder) -> Iterator[tuple[RunFolder, int, RunRecord | None]]:
    """Open a folder that may be deleted: its real path, a descriptor, and the record as it was written.

    The record is None at the end of an interrupted deletion, when nothing of ours is left in the folder.
    """
    path = folder.path
    with _errors(path):
        _check_place(path)
        folder = RunFolder(real_path(path))
        with _opened(folder.path) as descriptor:
            _check_owner(path, descriptor)
            if closed := is_closed(descriptor):
                raise RunError(f"{path}: not deleted: you may not remove files from {closed}; see chmod(1)")
            yield folder, descriptor, _check_run(folder, descriptor)


def _check_run(folder: RunFolder, descriptor: int) -> RunRecord | None:
    """Return the record as it was written. Raises RunError unless the folder is that of an ended run."""
    path = folder.path
    found = set(os.listdir(descriptor))
    if folder.is_being_deleted and names.RUN_FILE not in found:
        return None
    try:
        written = load_record(folder.run_file)
    except RunError as error:
        raise RunError(f"{error}; not deleted. If you do not need the folder: rm -r {path}") from error
    others = found & {*names.RUN_FILES, names.CHECKPOINTS} - {names.RUN_FILE}
    if not (written.created and written.host and (others or folder.is_being_deleted)):
        raise RunError(f"{path}: not deleted, because it is not the folder of a run in spite of its run.json")
    if not folder.is_being_deleted:
        _check_has_ended(folder)
    return written


def _check_has_ended(folder: RunFolder) -> None:
    record = folder.read_record()
    if record.is_live:
        where = "" if record.is_here else f" on {record.host}"
        raise RunError(
            f"{record.name} is {record.status}{where}: stop it before you delete it, "
            f"with `torchconsole send {record.name} stop`{where}"
        )


def _check_place(path: Path) -> None:
    """Raise RunError for a folder that must not be deleted whatever is in it."""
    if path.is_symlink():
        raise RunError(
            f"{path} is a link: delete the run itself with `torchconsole delete {real_path(path)}`, "
            "or remove the link with `rm`"
        )
    real = real_path(path)
    if real == real.parent or Path.cwd().is_relative_to(real):
        raise RunError(f"{real}: you are in this folder; leave it before you delete it")
    if home_folder().resolve().is_relative_to(real):
        raise RunError(f"{real}: not deleted, because your home folder is in it")
    if real.parent.name == names.CHECKPOINTS and names.is_checkpoint_folder(real.name):
        raise RunError(f"{real}: is a checkpoint; `delete` removes whole runs")
    if runs := sorted(file.parent.name for file in real.glob(f"*/{names.RUN_FILE}")):
        raise RunError(f"{real}: not deleted, because it holds other runs: {list_names(runs)}")
    if mounted := _mounted_below(real):
        raise RunError(f"{real}: not deleted, because something is mounted at {mounted}; unmount it first")


def _check_owner(path: Path, descriptor: int) -> None:
    owner = os.fstat(descriptor).st_uid
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"uid {owner}"
    raise RunError(f"{path}: not deleted, because it belongs to {name}")


def _mounted_below(folder: Path) -> str:
    """Return a place below the folder where a file system is mounted, or an empty string."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        # Spaces and the like are written as octal numbers, all other bytes as they are.
        point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), line.split(" ")[4])
        if Path(point).is_relative_to(folder):
            return point
    return ""


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turn OSError into RunError with the folder, and what is left of it."""
    try:
        yield
    except (OSError, RecursionError) as error:
        rest = ""
        original = RunFolder(path).original
        if original.aside.path.is_dir():
            rest = f"; it is partly deleted, and `torchconsole delete {original.name}` finishes it"
        why = (
            f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else error
        )
        raise RunError(f"{original.path} cannot be deleted: {why}{rest}") from error


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
