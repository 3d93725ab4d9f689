"""Whether a run's process is ended because another one has died, and not because somebody stops the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from torchconsole.engine.client.launcher import PARENT
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.run.membership import UNTOLD
from torchconsole.engine.training.command_queue import Terminated


@contextmanager
def telling_loss_from_stop() -> Iterator[None]:
    """Raise TrainingError where SIGTERM ends this process because another one has died.

    The run's parent ends the rest by that signal then, as somebody might who stops the run.
    """
    try:
        yield
    except Terminated as termination:
        if _has_lost_process():
            raise TrainingError(f"another process {UNTOLD} before the training began") from termination
        raise


def _has_lost_process() -> bool:
    """Whether fewer processes are left than the run's parent has started; another launcher is not asked."""
    with suppress(psutil.Error):
        parent = psutil.Process(os.getppid())
        if PARENT in parent.cmdline():
            left = [child for child in parent.children() if child.status() != psutil.STATUS_ZOMBIE]
            return len(left) < int(os.environ["LOCAL_WORLD_SIZE"])
    return False
