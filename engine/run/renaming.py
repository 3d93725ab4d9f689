"""Renames a run: its folder gets another name, which a live worker follows, and the registry learns it."""

from __future__ import annotations

import os
import re

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import real_path
from torchconsole.engine.run import names
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import lock_of_ended
from torchconsole.engine.run.registry import note_move

MOST_CHARACTERS = 100

_NAME = re.compile(r"\w[\w.+=-]*")


def check_name(name: str, folder: RunFolder) -> None:
    """Raise RunError if the run in `folder` cannot get this name."""
    check_new_name(name)
    if name != folder.name and os.path.lexists(folder.path.with_name(name)):
        raise RunError(f"{name} exists already in {folder.path.parent}")


def check_new_name(name: str) -> None:
    """Raise RunError if no run can have this name."""
    if not name:
        raise RunError("type a name for the run")
    if len(name) > MOST_CHARACTERS or len(os.fsencode(name + names.DELETING)) > 255:
        raise RunError(f"the name is too long; use at most {MOST_CHARACTERS} characters")
    if not _NAME.fullmatch(name):
        raise RunError("use letters, digits and . _ + = - only, beginning with a letter or a digit")
    if name.endswith(names.DELETING):
        raise RunError(f"a name cannot end with {names.DELETING}; runs that are being deleted do")


def rename_run(folder: RunFolder, name: str) -> RunFolder:
    """Rename a run and return its new folder.

    The worker of a live run follows its folder (engine/session/run_place.py). Raises RunError for a name that
    a run cannot have, a run whose worker is starting, or a folder that cannot be renamed.
    """
    if name == folder.name:
        return folder
    check_name(name, folder)
    folder.check_is_whole()
    if folder.path.is_symlink():
        raise RunError(f"{folder.path} is a link: rename the run itself, {real_path(folder.path)}")
    record = folder.read_record()
    if record.status == "starting":
        raise RunError(f"{folder.name} is starting: rename it once it is running")
    renamed = RunFolder(folder.path.with_name(name))
    try:
        if record.is_live:
            _rename(folder, renamed)
        else:
            with lock_of_ended(folder.lock_file, folder.name):
                _rename(folder, renamed)
    except OSError as error:
        raise RunError(f"{folder.path} cannot be renamed: {error.strerror}") from error
    note_move([RunFolder(real_path(folder.path.parent) / folder.name)], renamed)
    return renamed


def _rename(folder: RunFolder, renamed: RunFolder) -> None:
    """Rename the folder. Raises RunError if another process has just taken the name."""
    if os.path.lexists(renamed.path):  # rename() would replace an empty folder
        raise RunError(f"{renamed.name} exists already in {renamed.path.parent}")
    folder.path.rename(renamed.path)
