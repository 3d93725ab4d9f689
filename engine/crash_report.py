"""The last net: an error that no message explains becomes one line, and its traceback is kept in a file."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from torchconsole.engine.text import error_summary
from torchconsole.engine.user_folders import make_private, state_folder

CRASH_STATUS = 70
"""Exit status of a command that ended so: EX_SOFTWARE of sysexits.h."""

MOST_KEPT = 20
"""Tracebacks in the user's state folder; older ones are removed."""


def describe_crash(error: BaseException) -> str:
    """Keep the traceback of `error`, and return one line that summarizes it and names the file."""
    return f"{' '.join(error_summary(error).split())}; {where_kept(keep_traceback(error))}"


def where_kept(file: Path | None) -> str:
    """Return the part of a message about the file of a kept traceback."""
    return f"its traceback is in {file}" if file else "its traceback could not be written to any folder"


def keep_traceback(error: BaseException) -> Path | None:
    """Write the traceback of `error` to a file; see `keep`."""
    return keep("".join(traceback.format_exception(error)))


def keep(text: str) -> Path | None:
    """Write a traceback to the state folder, else to the temporary folder; return the file.

    Returns None if neither can be written. The content may name files of the user, so only they can read it.
    """
    content = (_facts() + text).encode(errors="backslashreplace")
    stem = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-"
    for folder in (state_folder() / "crashes", None):
        try:
            if folder is not None:
                make_private(folder)
                _remove_old(folder)
            # A new name, which nobody can have prepared: the temporary folder is shared.
            descriptor, name = tempfile.mkstemp(".txt", stem, folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        except OSError:
            continue
        return Path(name)
    return None


def _facts() -> str:
    try:
        version = metadata.version("torchconsole")
    except Exception:  # noqa: BLE001 - nothing may fail here
        version = "unknown"
    command = " ".join(map(repr, sys.argv))
    return f"torchconsole {version}, Python {platform.python_version()}, {sys.platform}\n{command}\n\n"


def _remove_old(folder: Path) -> None:
    for file in sorted(folder.glob("crash-*.txt"))[: -MOST_KEPT + 1]:
        with suppress(OSError):
            file.unlink()
