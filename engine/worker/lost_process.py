"""Whether a run's process is ended because another one has died, and not because somebody stops the run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from torchconsole.engine.client.launcher import PARENT
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.run.membership import BEFORE_TRAINING, STOP_NOTE, UNTOLD
from torchconsole.engine.training.command_queue import Terminated

NOTE_SECONDS = 1.0
"""How long the parent may take to note a signal that it gets at the same time as its processes."""

LOOK_SECONDS = 0.02


@contextmanager
def telling_loss_from_stop() -> Iterator[None]:
    """Raise TrainingError where SIGTERM ends the preparation because another process has died.

    The run's parent ends the rest by that signal then, as somebody might who stops the run.
    """
    try:
        yield
    except Terminated as termination:
        if loss := why_lost(str(termination)):
            raise TrainingError(loss) from termination
        raise


def why_lost(reason: str) -> str:
    """Return which process has died if `reason` is that of a stop because of it; empty if it is not."""
    if reason.endswith(BEFORE_TRAINING) and _has_lost_process() and not _is_stop():
        return f"another process {UNTOLD} {BEFORE_TRAINING}"
    return ""


def _has_lost_process() -> bool:
    """Whether fewer processes are left than the run's parent has started; another launcher is not asked."""
    try:
        parent = psutil.Process(os.getppid())
        if PARENT not in parent.cmdline():
            return False
        children = parent.children()
    except psutil.Error:
        return False
    return sum(map(_is_alive, children)) < int(os.environ["LOCAL_WORLD_SIZE"])


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _is_stop() -> bool:
    """Whether the parent was told to stop the run. A stop of all processes at once may end another first."""
    note, deadline = Path(os.environ[STOP_NOTE]), time.monotonic() + NOTE_SECONDS
    while not note.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
