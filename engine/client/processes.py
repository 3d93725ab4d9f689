"""How many processes train a run together: as the preset says, or one for each GPU that is free."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.together import require_trainable_together
from torchconsole.engine.errors import DeviceError
from torchconsole.engine.run.cgroups import free_memory, usable_cores
from torchconsole.engine.run.membership import JOINS, read_membership
from torchconsole.engine.run.trained_batch import TrainedBatch
from torchconsole.engine.text import counted

MOST_USED = 0.05
"""Share of its memory that a free GPU may have in use, by a desktop for example."""

MIB = 2**20

LEAST_MEMORY = 200 * MIB
"""Bytes of memory that a process with torch and little else has for itself; it shares some 85 MiB more."""

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Processes:
    """The processes to start on this machine."""

    count: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that they get: which GPUs they see."""
    note: str = ""
    """What the user should know about the number; empty if nothing."""


ONE = Processes()


@dataclass(frozen=True)
class Gpus:
    """The GPUs of this machine that may be used."""

    free: list[str]
    """Names for CUDA_VISIBLE_DEVICES."""
    busy: list[int]
    """Numbers, as nvidia-smi shows them, of those that somebody uses."""
    are_chosen: bool
    """Whether a batch system has chosen them already."""


def choose_processes(
    preset: Preset, *, resumes: bool = False, trained: TrainedBatch | None = None, machines: int = 1
) -> Processes:
    """Return the processes that `distributed.processes` asks for; one where a launcher has started several.

    A run that `resumes` takes fewer if fewer GPUs are free. `trained`: by how many it was trained, if that is
    known. Raises DeviceError; and what the workers would find out later, too: ComponentError if several
    processes cannot train the preset, and RunError if so many cannot resume the run.
    """
    chosen = _choose(preset, resumes, trained)
    joined = read_membership(os.environ) if JOINS in os.environ else None
    if joined and not joined.launcher_hosts:
        return chosen  # nobody would end the other processes: they learn it from the worker
    count = joined.size if joined else chosen.count * machines
    if count > 1:
        require_trainable_together(preset, on_cpu=preset.training.device == "cpu")
    if trained is not None:
        trained.divided(preset, count)
    return chosen


def _choose(preset: Preset, resumes: bool, trained: TrainedBatch | None) -> Processes:
    chosen = _choose_count(preset, resumes, trained)
    _require_memory(chosen.count)
    return chosen


def _choose_count(preset: Preset, resumes: bool, trained: TrainedBatch | None) -> Processes:
    wanted = preset.distributed.processes
    if JOINS in os.environ or wanted == 1:
        return ONE
    on_cpu = preset.training.device == "cpu"
    if wanted == "auto":
        if on_cpu:
            raise DeviceError(
                "distributed.processes = auto counts GPUs, but training.device is cpu; give a number, such "
                "as --nproc 2"
            )
        return _one_for_each(_gpus(), "distributed.processes =")
    gpus = Gpus([], [], are_chosen=False) if on_cpu else _gpus()
    if resumes:
        return _as_before(preset, wanted, gpus, trained.processes if trained else wanted)
    if len(gpus.free) >= wanted:
        return Processes(wanted, _only(gpus, wanted))
    return Processes(wanted, note=_in_use(gpus, wanted))


def concern_about(wanted: int | str, device: str) -> str:
    """Return what speaks against so many processes on this machine; empty if nothing.

    `wanted` is distributed.processes, `device` is training.device.
    """
    if wanted == 1:
        return ""
    gpus = Gpus([], [], are_chosen=False) if device == "cpu" else _gpus()
    present = len(gpus.free) + len(gpus.busy)
    try:
        if isinstance(wanted, str):
            _require_memory(_one_for_each(gpus, "").count)
            return ""
        _require_memory(wanted)
    except DeviceError as error:
        return str(error).removeprefix(" auto: ")
    if not present and not device.startswith("cuda") and wanted > (cores := usable_cores()):
        return f"{wanted} processes on the CPU take turns: {counted(cores, 'core')} can be used here"
    if present and wanted > present:
        return f"{wanted} processes, but this machine has {counted(present, 'GPU')}"
    return _in_use(gpus, wanted) if len(gpus.free) < wanted else ""


def choose_for_program(nproc: str | None) -> Processes:
    """Return the processes that --nproc asks for to run a program of the user's own. Raises DeviceError."""
    if nproc == "auto":
        chosen = _one_for_each(_gpus(), "--nproc")
        _require_memory(chosen.count)
        return chosen
    count = int(nproc or 1)
    if count == 1:
        return ONE
    _require_memory(count)
    gpus = _gpus()
    return Processes(count, _only(gpus, count) if len(gpus.free) >= count else {})


def _require_memory(count: int) -> None:
    """Raise DeviceError if so many processes need more memory than is free, and others would be killed."""
    free = min([psutil.virtual_memory().available, *free_memory()])
    if count > 1 and count * LEAST_MEMORY > free:
        most = max(1, free // LEAST_MEMORY)
        raise DeviceError(
            f"{count} processes: each needs {LEAST_MEMORY / MIB:,.0f} MiB of memory or more, and "
            f"{free / MIB:,.0f} MiB are free; use --nproc {most}{' or less' * (most > 1)}"
        )


def _one_for_each(gpus: Gpus, setting: str) -> Processes:
    if gpus.free:
        return Processes(len(gpus.free), _only(gpus, len(gpus.free)))
    found = (
        f"all {len(gpus.busy)} GPUs of this machine are in use"
        if gpus.busy
        else "this machine has no GPU (NVML)"
    )
    raise DeviceError(f"{setting} auto: {found}; give a number, such as --nproc 2")


def _in_use(gpus: Gpus, wanted: int) -> str:
    """Return what to know of a new run by more processes than GPUs are free; empty if nobody uses any."""
    if not gpus.busy:
        return ""
    count, numbers = len(gpus.free), ", ".join(map(str, gpus.busy))
    return (
        f"{wanted} processes, but only {count} of {count + len(gpus.busy)} GPUs {_are(count)} free; in use "
        f"(numbers of nvidia-smi): {numbers}"
    )


def _as_before(preset: Preset, before: int, gpus: Gpus, trained_by: int) -> Processes:
    """Return the processes of a resume: as many as before, or fewer if there are GPUs but too few are free.

    With fewer processes the effective batch stays, so they must divide it. With `lr_scaling` another number
    would change the lr; the worker refuses that in words.
    """
    count, present = len(gpus.free), len(gpus.free) + len(gpus.busy)
    why = ", as before" if trained_by == before else f": {trained_by} trained the run"
    if count >= before:
        return Processes(before, _only(gpus, before), _note(before, why))
    if not present or preset.distributed.lr_scaling != "none":
        return Processes(before, note=_note(before, why))
    together = preset.data.batch_size * trained_by
    fewer = max((n for n in range(1, count + 1) if together % n == 0), default=1)
    found = f": {trained_by} trained the run, and {count} of {present} GPUs {_are(count)} free"
    return Processes(fewer, _only(gpus, fewer) if count else {}, _note(fewer, found))


def _note(count: int, why: str) -> str:
    return f"resuming with {count} process{'es' * (count != 1)}{why}; --nproc N takes another number"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _only(gpus: Gpus, count: int) -> dict[str, str]:
    return {} if gpus.are_chosen else {VISIBLE: ",".join(gpus.free[:count])}


def _gpus() -> Gpus:
    """Return the GPUs that a batch system or the user has chosen, or else those of the machine."""
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return Gpus([name for name in visible.split(",") if name.strip()], [], are_chosen=True)
    free: list[str] = []
    busy: list[int] = []
    with suppress(ImportError):
        import pynvml

        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            for index in range(pynvml.nvmlDeviceGetCount()):
                gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
                memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
                if pynvml.nvmlDeviceGetComputeRunningProcesses(gpu) or memory.used > MOST_USED * memory.total:
                    busy.append(index)
                else:
                    free.append(pynvml.nvmlDeviceGetUUID(gpu))
    return Gpus(free, busy, are_chosen=False)
