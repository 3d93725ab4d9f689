"""What could not be written at the end of a run, in a sentence that says what to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import HISTORY_FILE
from torchconsole.engine.session.record_writer import FULL


def describe_problem(unsaved: str, causes: Mapping[str, OSError], folder: RunFolder) -> str:
    """Describe the files that could not be written, each with its error; empty if all were.

    `unsaved` says why the last checkpoint was not saved; empty if it was.
    """
    # Without history.json a long run is read more slowly, and that is all.
    failed = {name: error for name, error in causes.items() if name != HISTORY_FILE}
    parts = [unsaved] if unsaved else []
    if failed:
        error = next(iter(failed.values()))
        parts.append(f"{', '.join(failed)} could not be written: {error.strerror or error}")
    if not parts:
        return ""
    is_full = any(error.errno in FULL for error in failed.values()) or any(
        os.strerror(number) in unsaved for number in FULL
    )
    advice = [_make_room(folder)] if is_full else []
    if unsaved:
        advice.append(f"`torchconsole resume {folder.name}` repeats what came after the last checkpoint")
    return "; ".join([*parts, ", then ".join(advice)] if advice else parts)


def _make_room(folder: RunFolder) -> str:
    with suppress(OSError):
        disk = os.statvfs(folder.path)
        if disk.f_files and not disk.f_favail:  # btrfs, for example, does not count inodes
            return f"remove some files, because {folder.path.parent} has no inodes left (see `df -i`)"
    return f"free space in {folder.path.parent}"
