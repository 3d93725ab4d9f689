"""Data of a user's own whose process fails once, as the variable FAULT says: `KIND RANK`.

It fails when the run has its first checkpoint, and leaves a file `failed` then; of the kind `start`, at once.
Of the kind `prepares` it hangs at once, and of the kind `broken` it ends itself at once. While there is a
file `slow`, no checkpoint is written.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import torch

FAILED = Path("failed")

CHECKPOINT = "disturbed/checkpoints/last/state.pt"


AT_ONCE = {"start": "SIGKILL", "prepares": "hangs", "broken": "exits"}

SLOW = Path("slow")

fsync = os.fsync


class Rows(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Rows of four numbers, in two classes."""

    def __init__(self) -> None:
        os.fsync = slow_fsync
        kind, rank = os.environ.get("FAULT", "none -1").split()
        if os.environ.get("RANK") == rank and kind in AT_ONCE:
            print("preparing", flush=True)
            fail(AT_ONCE[kind])

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        kind, rank = os.environ.get("FAULT", "none -1").split()
        if os.environ.get("RANK") == rank and not FAILED.exists() and any(Path("runs").glob(CHECKPOINT)):
            FAILED.touch()
            fail(kind)
        return torch.tensor([index % 2, index % 3, index % 5, index % 7]).float(), index % 2


def slow_fsync(file: int) -> None:
    """Write to a disk that is slow, in the place of `os.fsync`; it has the checkpoints only."""
    while SLOW.exists() and "/checkpoints" in str(Path(f"/proc/self/fd/{file}").readlink()):
        threading.Event().wait(0.01)
    fsync(file)


def fail(kind: str) -> None:
    """Fail in one of the ways that real processes do."""
    if kind == "hangs":
        threading.Event().wait()
    if kind == "exits":
        os._exit(3)
    if kind == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    if kind == "error":
        raise ValueError("row 17 is not a number")
    os.kill(os.getpid(), signal.Signals[kind])
