"""What the machine does at the moment, as psutil and NVML tell it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import psutil

from torchconsole.engine.protocol.info import DeviceInfo, Telemetry

BRIEF_SECONDS = 0.02
"""How long a measurement waits for NVML, which answers in a few milliseconds if at all."""

STALE_SECONDS = 5.0
"""For how long an answer of NVML's is taken for the present."""


class TelemetryProbe:
    """Measures the machine and this process. Percentages are means since the measurement before."""

    def __init__(self) -> None:
        self._gpu = _GpuProbe()
        self._process = psutil.Process()
        self._process.cpu_percent()
        psutil.cpu_percent()

    def measure(self, device: DeviceInfo | None) -> Telemetry:
        """One measurement; the GPU's part is None where there is none or NVML does not tell."""
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
    """Asks NVML in a thread of its own: while the driver hangs, a call to NVML does, and nothing ends it."""

    def __init__(self) -> None:
        self._asking: threading.Thread | None = None
        self._told: dict[str, Any] = {}
        self._told_at = -STALE_SECONDS

    def measure(self, uuid: str | None) -> dict[str, Any]:
        """What the GPU does; empty where there is none, or where NVML does not tell."""
        if uuid is None:
            return {}
        if self._asking is None or not self._asking.is_alive():
            self._asking = threading.Thread(target=self._ask, args=(uuid,), name="nvml", daemon=True)
            self._asking.start()
            self._asking.join(BRIEF_SECONDS)
        return self._told if time.monotonic() - self._told_at < STALE_SECONDS else {}

    def _ask(self, uuid: str) -> None:
        self._told = _measure_gpu(uuid)
        self._told_at = time.monotonic()


def _uuid(device: DeviceInfo | None) -> str | None:
    """The GPU's UUID: NVML's indices ignore CUDA_VISIBLE_DEVICES."""
    if device is None or not device.device.startswith("cuda"):
        return None
    index = int(device.device.partition(":")[2] or 0)
    return next((gpu.uuid for gpu in device.gpus if gpu.index == index), None)


def _measure_gpu(uuid: str) -> dict[str, Any]:
    try:
        import pynvml
    except ImportError:
        return {}
    # CUDA's UUIDs lack what NVML has before those of a GPU, and of a part of one (MIG).
    for kind in ("GPU", "MIG"):
        try:
            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}")
        except pynvml.NVMLError:
            continue
        return _ask_nvml(pynvml, handle)
    return {}


def _ask_nvml(nvml: ModuleType, handle: Any) -> dict[str, Any]:
    def ask(question: Callable[..., Any], *arguments: Any) -> Any:
        """Virtual GPUs and parts of one do not answer everything."""
        try:
            return question(handle, *arguments)
        except nvml.NVMLError:
            return None

    utilization = ask(nvml.nvmlDeviceGetUtilizationRates)
    memory = ask(nvml.nvmlDeviceGetMemoryInfo)
    return {
        "gpu_percent": utilization.gpu if utilization else None,
        "gpu_memory_used": memory.used if memory else None,
        "gpu_memory_total": memory.total if memory else None,
        "gpu_temperature": ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
    }
