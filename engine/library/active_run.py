"""Where a run of `torchconsole.run` may begin: in one process, one after the other."""

from __future__ import annotations

import os
import sys

from torchconsole.engine.errors import RunError

_active: list[int] = []
"""The process of the run that is under way, if one is."""


def begin() -> None:
    """Note that a run begins in this process. Raises RunError where none can."""
    if _active and _active[0] == os.getpid():
        raise RunError(
            "torchconsole.run inside of another one; the first `with` must end before the next begins"
        )
    torch = sys.modules.get("torch")
    if _active or (torch is not None and torch.utils.data.get_worker_info() is not None):
        raise RunError(
            "torchconsole.run in a child process, a data loader worker for example; begin the run in the "
            'main process, below `if __name__ == "__main__":`'
        )
    if os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" not in os.environ:
        raise RunError(
            f"torchconsole.run: this is one of {os.environ['WORLD_SIZE']} processes (WORLD_SIZE), but "
            "RANK does not say which; start the program with torchrun or `torchconsole run --nproc`, or set "
            "TORCHCONSOLE=off to train without torchconsole"
        )
    _active[:] = [os.getpid()]


def end() -> None:
    """Note that the run of this process has ended."""
    _active.clear()
