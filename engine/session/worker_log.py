"""The worker's output: worker.log in the run's folder, or a file in the state folder while that is gone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from torchconsole.engine.files import open_own
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.user_folders import make_private

OUTPUTS = (1, 2)
"""Standard output and standard error, which the launcher has opened."""


class WorkerLog:
    """Directs the output of this process, if it goes to the run's worker.log."""

    def __init__(self, folder: RunFolder) -> None:
        self._is_ours = _is_output(folder.log_file)

    def follow(self, folder: RunFolder) -> None:
        """Write to the worker.log of this folder. Raises OSError if it cannot be opened."""
        if self._is_ours and not _is_output(folder.log_file):
            _direct(folder.log_file)

    def go_elsewhere(self, folder: RunFolder) -> None:
        """Write to a file outside of the run's folder, if that is possible."""
        if self._is_ours:
            with suppress(OSError):
                make_private(folder.log_elsewhere.parent)
                _direct(folder.log_elsewhere)


def _is_output(path: Path) -> bool:
    """Whether the output goes to this file."""
    with suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(OUTPUTS[0]))
    return False


def _direct(path: Path) -> None:
    descriptor = open_own(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        for output in OUTPUTS:
            os.dup2(descriptor, output)
    finally:
        os.close(descriptor)
