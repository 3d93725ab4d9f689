"""Goes through a run's folder: removes what torchconsole wrote, and finds what it did not write.

It follows no link, and reaches everything from the open folder: nothing outside is touched even if somebody
exchanges a folder for a link meanwhile.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from torchconsole.engine.run import names

KEPT_TO_THE_END = (names.RUN_FILE, names.LOCK_FILE)
"""Files that make the folder a run: `sweep` leaves them, the deletion removes them last."""


def sweep(folder: int, *, remove: bool, everything: bool = False) -> list[str]:
    """Go through a run's folder, given as a descriptor. Raises OSError.

    With `remove`, remove what is ours except KEPT_TO_THE_END, and with `everything` the rest too. Return what
    is not ours and stays: paths relative to the run's folder, those of folders with a slash at the end.
    """
    foreign: list[str] = []
    for entry in _entries(folder):
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name == names.CHECKPOINTS and is_folder:
            found = _sweep_checkpoints(folder, remove=remove, everything=everything)
        elif entry.name == names.CHECKPOINTS and entry.is_symlink():
            found = [_moved_checkpoints(folder)]
            _remove(folder, entry.name, remove)
        elif entry.name == names.RESULTS and is_folder:
            found = _sweep_files(
                folder, entry.name, names.is_result_file, remove=remove, everything=everything
            )
        elif entry.name == names.TENSORBOARD and is_folder:
            found = _sweep_files(
                folder, entry.name, names.is_event_file, remove=remove, everything=everything
            )
        elif entry.name in (names.WANDB, names.MLFLOW) and is_folder and _is_tracked(folder, entry.name):
            found = []
            if remove:
                shutil.rmtree(entry.name, dir_fd=folder)
        elif names.is_run_file(entry.name) and not is_folder:
            found = []
            _remove(folder, entry.name, remove and entry.name not in KEPT_TO_THE_END)
        else:
            found = _foreign(folder, entry, remove=remove, everything=everything)
        foreign += found
    return sorted(foreign)


def is_closed(folder: int) -> str:
    """Return the first folder of ours, relative to the run's, from which nothing may be removed; else ""."""
    below = [""]
    with suppress(OSError), _opened(folder, names.CHECKPOINTS) as checkpoints:
        below.append(names.CHECKPOINTS)
        below += [
            f"{names.CHECKPOINTS}/{entry.name}"
            for entry in _entries(checkpoints)
            if names.is_checkpoint_folder(entry.name) and entry.is_dir(follow_symlinks=False)
        ]
    for path in below:
        if not os.access(path or ".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
            return path or "."
    return ""


def _sweep_checkpoints(folder: int, *, remove: bool, everything: bool) -> list[str]:
    foreign: list[str] = []
    with _opened(folder, names.CHECKPOINTS) as checkpoints:
        for entry in _entries(checkpoints):
            is_folder = entry.is_dir(follow_symlinks=False)
            if names.is_checkpoint_folder(entry.name) and is_folder:
                foreign += _sweep_files(
                    checkpoints, entry.name, names.is_checkpoint_file, remove=remove, everything=everything
                )
            elif _is_link_of_ours(entry):
                _remove(checkpoints, entry.name, remove)
            else:
                foreign += _foreign(checkpoints, entry, remove=remove, everything=everything)
    if not foreign:
        _remove(folder, names.CHECKPOINTS, remove, is_folder=True)
    return [f"{names.CHECKPOINTS}/{name}" for name in foreign]


def _sweep_files(
    parent: int, name: str, is_ours: Callable[[str], bool], *, remove: bool, everything: bool
) -> list[str]:
    """Go through a folder of files, such as a checkpoint."""
    foreign: list[str] = []
    with _opened(parent, name) as folder:
        for entry in _entries(folder):
            if is_ours(entry.name) and not entry.is_dir(follow_symlinks=False):
                _remove(folder, entry.name, remove)
            else:
                foreign += _foreign(folder, entry, remove=remove, everything=everything)
    if not foreign:
        _remove(parent, name, remove, is_folder=True)
    return [f"{name}/{found}" for found in foreign]


def _foreign(folder: int, entry: os.DirEntry[str], *, remove: bool, everything: bool) -> list[str]:
    """Return what is not ours, or remove it with `everything`."""
    is_folder = entry.is_dir(follow_symlinks=False)
    if remove and everything:
        if is_folder:
            shutil.rmtree(entry.name, dir_fd=folder)
        else:
            _remove(folder, entry.name, remove)
        return []
    return [f"{entry.name}/" if is_folder else entry.name]


def _is_tracked(folder: int, name: str) -> bool:
    """Whether the folder is one that a tracker has had a library write to: all in it is the run's then."""
    with _opened(folder, name) as tracker:
        return any(entry.name == names.TRACKED_FILE for entry in _entries(tracker))


def _is_link_of_ours(entry: os.DirEntry[str]) -> bool:
    """Whether it is `best`, `last` or one that replaces them, or a checkpoint that was moved and linked."""
    named_so = names.is_checkpoint_link(entry.name) or names.is_checkpoint_folder(entry.name)
    return entry.is_symlink() and named_so


def _moved_checkpoints(folder: int) -> str:
    return f"{os.readlink(names.CHECKPOINTS, dir_fd=folder)}/ ({names.CHECKPOINTS} is a link to it)"


def _entries(folder: int) -> Iterator[os.DirEntry[str]]:
    """Yield what the folder contains, read at once: it changes meanwhile."""
    with os.scandir(folder) as found:
        yield from sorted(found, key=lambda entry: entry.name)


@contextmanager
def _opened(parent: int, name: str) -> Iterator[int]:
    """Open a folder, never a link."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove(folder: int, name: str, remove: bool, *, is_folder: bool = False) -> None:
    """Remove an entry if `remove` is true, unless another process has just done so."""
    if remove:
        with suppress(FileNotFoundError):
            (os.rmdir if is_folder else os.unlink)(name, dir_fd=folder)
