"""The end of a process of several that train together."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from torchconsole.engine.run.membership import JOINS


def end(status: int) -> NoReturn:
    """Exit as it has to be: a program of the user's own, which has left the store, as Python does."""
    if JOINS in os.environ:
        end_at_once(status)
    sys.exit(status)


def end_at_once(status: int) -> NoReturn:
    """Exit without Python's own end, which aborts if a thread that waits in the store wakes up in it.

    Once the process that has the store is gone, all such threads wake up.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
