"""Measures the load of the machine with psutil and NVML."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import psutil

from torchconsole.engine.protocol.info import DeviceInfo, GpuInfo, GpuLoad, GpuProcess, Telemetry

ANSWER_SECONDS = 0.02
"""How long a measurement waits for NVML or a disk, which answer within a few milliseconds if at all."""

STALE_SECONDS = 5.0
"""How long an answer is considered up to date."""

OWN_TASKS = Path("/proc/self/task")
"""Linux lists here, for each thread, the processes that it has started."""

_SLOWDOWN = 1
"""NVML_TEMPERATURE_THRESHOLD_SLOWDOWN."""

_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
"""Unit of `ru_maxrss`."""

MOST_OTHERS = 8
"""Processes of others that are reported for a GPU."""

Answer = TypeVar("Answer")


class TelemetryProbe:
    """Measures the machine and this process. Percentages are means since the previous measurement."""

    def __init__(self) -> None:
        self._gpus = _Patient(_measure_gpus)
        self._disk = _Patient(_measure_disk)
        self._process = psutil.Process()
        self._process.cpu_percent()
        psutil.cpu_percent()

    def measure(self, device: DeviceInfo | None, folder: Path | None = None) -> Telemetry:
        """Measure now. Without a GPU, or if NVML does not answer, there are no GPUs in the result.

        `folder` is the run's folder, whose disk is measured.
        """
        memory = psutil.virtual_memory()
        disk = self._disk.ask(folder) if folder else None
        loaders = _child_processes()
        # The index in NVML may be another one: only the UUID names a GPU whatever CUDA_VISIBLE_DEVICES is.
        gpus = [gpu for gpu in device.gpus if gpu.uuid] if _uses_gpu(device) and device else []
        loads = (self._gpus.ask((gpus, [os.getpid(), *(loaders or [])])) or []) if gpus else []
        measured = Telemetry(
            cpu_percent=psutil.cpu_percent(),
            process_cpu_percent=self._process.cpu_percent(),
            process_memory=self._process.memory_info().rss,
            process_memory_peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES,
            loaders=None if loaders is None else len(loaders),
            loaders_memory=None if loaders is None else sum(map(_resident_memory, loaders)),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            disk_free=disk[0] if disk else None,
            disk_total=disk[1] if disk else None,
            gpus=loads,
        )
        trains = measured.gpu(device.device) if device else None
        if trains:
            measured.gpu_percent, measured.gpu_temperature = trains.percent, trains.temperature
            measured.gpu_memory_used, measured.gpu_memory_total = trains.memory_used, trains.memory_total
        return measured


class _Patient(Generic[Answer]):
    """Asks a question in its own thread: if a driver or disk hangs, so does the call."""

    def __init__(self, question: Callable[[Any], Answer]) -> None:
        self._question = question
        self._thread: threading.Thread | None = None
        self._answer: Answer | None = None
        self._answered = -STALE_SECONDS

    def ask(self, argument: object) -> Answer | None:
        """Return the newest answer; None if there is none that is up to date."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, args=(argument,), daemon=True)
            self._thread.start()
            self._thread.join(ANSWER_SECONDS)
        return self._answer if time.monotonic() - self._answered < STALE_SECONDS else None

    def _run(self, argument: object) -> None:
        self._answer = self._question(argument)
        self._answered = time.monotonic()


def _uses_gpu(device: DeviceInfo | None) -> bool:
    return device is not None and device.device.startswith("cuda")


def _child_processes() -> list[int] | None:
    """Return the processes that this one has started; None where the kernel does not list them."""
    found: list[int] = []
    is_listed = False
    for task in OWN_TASKS.iterdir() if OWN_TASKS.is_dir() else ():
        with suppress(OSError):  # the thread has ended, or the kernel has no such file
            found += map(int, (task / "children").read_text().split())
            is_listed = True
    return found if is_listed else None


def _resident_memory(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # it has ended
        return 0


def _measure_disk(folder: Path) -> tuple[int, int] | None:
    """Return the free and the total bytes of a folder's file system."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free, usage.total


def _measure_gpus(wanted: tuple[list[GpuInfo], list[int]]) -> list[GpuLoad]:
    """Return the loads of these GPUs; the second list has the pids of the run's processes."""
    gpus, pids = wanted
    try:
        import pynvml
    except ImportError:
        return []
    loads = []
    for gpu in gpus:
        # CUDA's UUIDs lack the prefix that NVML's have: one for a GPU, and one for a part of it (MIG).
        for kind in ("GPU", "MIG"):
            try:
                pynvml.nvmlInit()
                handle = pynvml.nvmlDeviceGetHandleByUUID(f"{kind}-{gpu.uuid}")
            except pynvml.NVMLError:
                continue
            loads.append(_query_nvml(pynvml, handle, gpu.index, pids))
            break
    return loads


def _query_nvml(nvml: ModuleType, handle: Any, index: int, pids: Iterable[int]) -> GpuLoad:
    def call(name: str, *arguments: Any) -> Any:
        """Call an NVML function; virtual GPUs, parts of a GPU and older versions do not have all of them."""
        try:
            return getattr(nvml, name)(handle, *arguments)
        except (nvml.NVMLError, AttributeError):
            return None

    def number(name: str, *arguments: Any, scale: float = 1.0) -> float | None:
        value = call(name, *arguments)
        return value * scale if isinstance(value, int | float) else None

    utilization = call("nvmlDeviceGetUtilizationRates")
    memory = call("nvmlDeviceGetMemoryInfo")
    processes = call("nvmlDeviceGetComputeRunningProcesses")
    return GpuLoad(
        index=index,
        percent=utilization.gpu if utilization else None,
        memory_used=memory.used if memory else None,
        memory_total=memory.total if memory else None,
        memory_ours=_own_memory(processes, pids, index),
        memory_reserved=_of_allocator("memory_reserved", index),
        memory_peak=_of_allocator("max_memory_allocated", index),
        others=_other_processes(processes, pids, index),
        temperature=number("nvmlDeviceGetTemperature", 0),
        temperature_limit=number("nvmlDeviceGetTemperatureThreshold", _SLOWDOWN),
        power=number("nvmlDeviceGetPowerUsage", scale=1e-3),
        power_limit=number("nvmlDeviceGetEnforcedPowerLimit", scale=1e-3),
    )


def _own_memory(processes: Any, pids: Iterable[int], index: int) -> int | None:
    """Return the bytes on a GPU that these processes hold.

    In a container NVML may list other pids or none. What torch's allocator has reserved is then the answer,
    without the few hundred megabytes of the CUDA context.
    """
    listed = processes if isinstance(processes, list) else []
    ours = [entry.usedGpuMemory for entry in listed if entry.pid in set(pids) and entry.usedGpuMemory]
    if ours:
        return int(sum(ours))
    return _of_allocator("memory_reserved", index)


def _of_allocator(figure: str, index: int) -> int | None:
    """Return a figure of torch's allocator in bytes; None if this process does not use the GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return None
    return int(getattr(torch.cuda, figure)(index))


def _other_processes(processes: Any, pids: Iterable[int], index: int) -> list[GpuProcess]:
    """Return the processes that are not these, those with the most memory first.

    None of them if one may be this process under another pid, as NVML lists it in a container.
    """
    listed = processes if isinstance(processes, list) else []
    others = [entry for entry in listed if entry.pid not in set(pids)]
    if len(others) == len(listed) and _of_allocator("memory_reserved", index):
        return []
    others.sort(key=lambda entry: -(entry.usedGpuMemory or 0))
    return [_describe_process(entry.pid, entry.usedGpuMemory) for entry in others[:MOST_OTHERS]]


def _describe_process(pid: int, memory: int | None) -> GpuProcess:
    user = command = ""
    with suppress(
        psutil.Error, KeyError
    ):  # it is in another container, or has ended, or its user has no name
        process = psutil.Process(pid)
        command = process.name()
        user = process.username()
    return GpuProcess(pid=pid, memory=memory or None, user=user, command=command)
