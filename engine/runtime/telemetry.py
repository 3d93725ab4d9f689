"""What the machine does at the moment, as psutil and NVML tell it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import psutil

from torchconsole.engine.protocol.events import DeviceInfo, Telemetry


class TelemetryProbe:
    """Measures the machine and this process. Percentages are means since the measurement before."""

    def __init__(self) -> None:
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
            **_measure_gpu(_uuid(device)),
        )


def _uuid(device: DeviceInfo | None) -> str | None:
    """The GPU's UUID: NVML's indices ignore CUDA_VISIBLE_DEVICES."""
    if device is None or not device.device.startswith("cuda"):
        return None
    index = int(device.device.partition(":")[2] or 0)
    return next((gpu.uuid for gpu in device.gpus if gpu.index == index), None)


def _measure_gpu(uuid: str | None) -> dict[str, Any]:
    if uuid is None:
        return {}
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    except pynvml.NVMLError:
        return {}
    return _ask_nvml(pynvml, handle)


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
