"""/dev/shm, through which loader processes hand over their batches, and what to do when it is too small."""

from __future__ import annotations

import shutil
from pathlib import Path

PLACE = Path("/dev/shm")

FULL = (
    f"shared memory ({PLACE}) is full; enlarge it (docker run --shm-size=8g), or lower data.num_workers or "
    "data.batch_size"
)

PREFETCHED = 2
"""Batches that torch has each loader process make ahead."""


def too_small(batch_bytes: int, num_workers: int) -> str | None:
    """A warning where the batches on their way may not find room; None where they do.

    `batch_bytes` are those of the largest batch.
    """
    needed = batch_bytes * (PREFETCHED * num_workers + 1)
    if not num_workers or not PLACE.is_dir():
        return None
    free = shutil.disk_usage(PLACE).free
    if needed <= free:
        return None
    return (
        f"{num_workers} loader processes may need {_mebibytes(needed)} of shared memory, and {PLACE} has "
        f"{_mebibytes(free)} free: enlarge it (docker run --shm-size=8g), or lower data.num_workers or "
        "data.batch_size"
    )


def _mebibytes(count: int) -> str:
    return f"{-(-count // 2**20):,} MiB"
