"""Measures the load of the machine with psutil and NVML."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import psutil

from torchconsole.engine.protocol.info import DeviceInfo, Telemetry

NVML_SECONDS = 0.02
"""How long a measurement waits for NVML, which answers within a few milliseconds if at all."""

STALE_SECONDS = 5.0
"""How long an answer of NVML is considered up to date."""


class TelemetryProbe:
    """Measures the machine and this process. Percentages are means since the previous measurement."""

    def __init__(self) -> None:
        self._gpu = _GpuProbe()
        self._process = psutil.Process()
        self._process.cpu_percent()
        psutil.cpu_percent()

    def measure(self, device: DeviceInfo | None) -> Telemetry:
        """Measure now; the values of the GPU are None if there is no GPU or NVML does not answer."""
        memory = psutil.virtual_memory()
        return Telemetry(
            cpu_percent=psutil.cpu_percent(),
            process_cpu_percent=self._process.cpu_percent(),
            process_memory=self._process.memory_info().rss,
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            **self._gpu.measure(_uuid(device)),
        )


class _GpuProbe:
    """Calls NVML in its own thread: if the driver hangs, so does the call, and nothing can end it."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._answer: dict[str, Any] = {}
        self._answered = -STALE_SECONDS

    def measure(self, uuid: str | None) -> dict[str, Any]:
        """Measure the GPU; empty if there is none or NVML does not answer."""
        if uuid is None:
            return {}
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._query, args=(uuid,), name="nvml", daemon=True)
            self._thread.start()
            self._thread.join(NVML_SECONDS)
        return self._answer if time.monotonic() - self._answered < STALE_SECONDS else {}

    def _query(self, uuid: str) -> None:
        self._answer = _measure_gpu(uuid)
        self._answered = time.monotonic()


def _uuid(device: DeviceInfo | None) -> str | None:
    """Return the UUID of the GPU, since NVML's indices ignore CUDA_VISIBLE_DEVICES."""
    if device is None or not device.device.startswith("cuda"):
        return None
    index = int(device.device.partition(":")[2] or 0)
    return next((gpu.uuid for gpu in device.gpus if gpu.index == index), None)


def _measure_gpu(uuid: str) -> dict[str, Any]:
    try:
        import pynvml
    except ImportError:
        return {}
    # CUDA's UUIDs lack the prefix that NVML's have: one for a GPU, and one for a part of it (MIG).
    for kind in ("GPU", "MIG"):
        try:
            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}")
        except pynvml.NVMLError:
            continue
        return _query_nvml(pynvml, handle)
    return {}


def _query_nvml(nvml: ModuleType, handle: Any) -> dict[str, Any]:
    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        """Call an NVML function; virtual GPUs and parts of a GPU do not support all of them."""
        try:
            return function(handle, *arguments)
        except nvml.NVMLError:
            return None

    utilization = call(nvml.nvmlDeviceGetUtilizationRates)
    memory = call(nvml.nvmlDeviceGetMemoryInfo)
    return {
        "gpu_percent": utilization.gpu if utilization else None,
        "gpu_memory_used": memory.used if memory else None,
        "gpu_memory_total": memory.total if memory else None,
        "gpu_temperature": call(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
    }
