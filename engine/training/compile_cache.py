"""Keeps torch.compile's cache private: torch runs the code and opens the pickle files that it finds there."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
import weakref
from pathlib import Path

import torch

from torchconsole.engine.user_folders import user_name

log = logging.getLogger(__name__)

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def use_private_compile_cache() -> None:
    """Let torch.compile use its cache only if nobody else can write to it.

    By default it is a folder in /tmp with a name that everybody can guess. If another user has made that
    folder, warns, and compiles in one that is removed at the end of the process.
    """
    default = Path(tempfile.gettempdir(), f"torchinductor_{user_name()}")
    folder = Path(os.environ.get(VARIABLE) or default)
    if _is_private(folder):
        return
    instead = tempfile.TemporaryDirectory(prefix="torchinductor-")
    weakref.finalize(torch, instead.cleanup)  # at the end of the process
    os.environ[VARIABLE] = instead.name
    log.warning(
        f"{folder}: torch.compile's cache is not used, because it is not a folder of yours alone; remove it, "
        f"or set {VARIABLE} to another folder. Until then each start compiles anew"
    )


def _is_private(folder: Path) -> bool:
    """Return whether a folder is this user's; make it if it does not exist, and close it to others."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return False
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            folder.chmod(0o700)
    except OSError:
        return False
    return True
