"""The user's own folders: state, cache, data and configuration, where XDG and HOME put them.

See the XDG Base Directory Specification. Any of them may be read-only, full, closed or not a folder at all,
and the home may be unknown. Nothing that torchconsole keeps there is needed to train, so whoever cannot write
there warns with the consequence and continues.
"""

from __future__ import annotations

import errno
import getpass
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

NAME = "torchconsole"

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

NO_HOME = Path("/dev/null/unknown-home")
"""Stands for the home of a user who has none: nothing can be found or written below it."""


_UNWRITABLE = frozenset(
    (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST)
)


def state_folder() -> Path:
    """Return the folder of the registry of runs, of trusted files and of kept tracebacks."""
    return _folder("XDG_STATE_HOME", ".local/state")


def make_private(folder: Path) -> None:
    """Make a folder of which the user alone may change the content, whatever the umask. Raises OSError.

    Folders above it that are missing are made so too.
    """
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            with suppress(FileExistsError):  # another process has just made it
                path.mkdir(mode=0o700)
    if not is_private(folder):
        folder.chmod(folder.stat().st_mode & ~OTHERS_WRITE)


def is_private(folder: Path) -> bool:
    """Whether the user alone may change the content of a folder; false if there is none."""
    try:
        found = folder.stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & OTHERS_WRITE


def cache_folder() -> Path:
    """Return the folder of what can be computed again."""
    return _folder("XDG_CACHE_HOME", ".cache")


def data_folder() -> Path:
    """Return the folder of downloaded data sets."""
    return _folder("XDG_DATA_HOME", ".local/share")


def config_folder() -> Path:
    """Return the folder of the user's own presets."""
    return _folder("XDG_CONFIG_HOME", ".config")


def home_folder() -> Path:
    """Return the user's home; NO_HOME if HOME is unset and the user database does not know the user."""
    return expand_user("~")


def expand_user(path: str | Path) -> Path:
    """Expand `~` and `~name` at the beginning of a path.

    An unknown home becomes NO_HOME. With an unknown name, the path stays the name of a file.
    """
    given = Path(path)
    try:
        return given.expanduser()
    except RuntimeError:
        return NO_HOME.joinpath(*given.parts[1:]) if given.parts[0] == "~" else given


def cannot_write(path: Path, error: OSError, consequence: str) -> str:
    """Return the warning that `path`, in one of these folders, cannot be written, with the consequence."""
    if path.is_relative_to(NO_HOME):
        return f"your home folder is unknown, set HOME: {consequence}"
    return f"{path}: cannot be written ({error.strerror or error}): {consequence}"


def is_unwritable(error: BaseException | None) -> TypeGuard[OSError]:
    """Whether an error says that a folder cannot be written, rather than that a file cannot be had."""
    return isinstance(error, OSError) and error.errno in _UNWRITABLE


def user_name() -> str:
    """Return the user's login name; the number if the user database does not know it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return str(os.getuid())


def name_user() -> None:
    """Name the user in the environment: libraries fail if they find the name nowhere."""
    os.environ.setdefault("LOGNAME", user_name())


def _folder(variable: str, default: str) -> Path:
    """Return our folder in the one that `variable` names; the specification has relative paths ignored."""
    base = Path(os.environ.get(variable, ""))
    return (base if base.is_absolute() else home_folder() / default) / NAME
