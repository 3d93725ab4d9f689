"""What a loader process does first: it makes sure that it ends with the training process."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: the signal that a process gets when the thread that forked it ends."""


def prepare_worker(parent: int, worker_id: int) -> None:
    """Die with process `parent`, leave Ctrl-C to it, and be killable whatever handlers it had set."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It ended before the line above: nobody would send that signal any more.
        os._exit(1)
