"""How many processes train together: the number that is typed, or one for each GPU that is free."""

from __future__ import annotations

import os
from contextlib import suppress

from torchconsole.engine.errors import DeviceError

MOST_USED = 0.05
"""Share of its memory that a free GPU may have in use, by a desktop for example."""


def count_processes(text: str) -> int:
    """Return the number in --nproc. For auto, hide the GPUs that are in use from the processes.

    Raises DeviceError.
    """
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    if text != "auto":
        raise DeviceError(f"--nproc {text}: must be auto or a whole number of 1 or more")
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES", "").strip():  # a batch system has chosen them
        return len(visible.split(","))
    free, busy = _gpus()
    if not free:
        found = f"all {busy} GPUs of this machine are in use" if busy else "this machine has no GPU (NVML)"
        raise DeviceError(f"--nproc auto: {found}; give a number, such as --nproc 2")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(free)
    return len(free)


def _gpus() -> tuple[list[str], int]:
    """Return the UUIDs of the free GPUs, and the number of those that are in use."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") is not None:
        return [], 0
    free: list[str] = []
    busy = 0
    with suppress(ImportError):
        import pynvml

        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            for index in range(pynvml.nvmlDeviceGetCount()):
                gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
                memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
                if pynvml.nvmlDeviceGetComputeRunningProcesses(gpu) or memory.used > MOST_USED * memory.total:
                    busy += 1
                else:
                    free.append(pynvml.nvmlDeviceGetUUID(gpu))
    return free, busy
