"""Chooses the device, and describes the machine and why torch cannot use one of its GPUs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import psutil
import torch

from torchconsole.engine.components.torchvision_compat import prepare_torchvision, uses_operators
from torchconsole.engine.errors import DeviceError
from torchconsole.engine.protocol.info import DeviceInfo, GpuInfo
from torchconsole.engine.text import counted

DRIVER_GPUS = Path("/proc/driver/nvidia/gpus")
"""NVIDIA's kernel driver has a folder here for each GPU."""

DEVICE_ERRORS = (torch.AcceleratorError, torch.OutOfMemoryError)
"""What torch raises if a GPU fails or is out of memory, which is not the fault of a component's arguments."""


def choose_device(wanted: str, key: str = "training.device") -> torch.device:
    """The device for `key`; `auto` selects the GPU with the most free memory, else the CPU.

    Raises DeviceError for a device that does not exist, and for `auto` if torch cannot use the machine's GPU
    and CUDA_VISIBLE_DEVICES does not hide it.
    """
    if wanted == "auto":
        return _best_device(key)
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"{key}: cannot use {wanted}: {_why_no_cuda()}, or set {key} to 'cpu'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"{key}: there is no {wanted}; torch finds {counted(torch.cuda.device_count(), 'GPU')}"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"{key}: mps is not available on this machine; set it to 'cpu'")
    return device


def set_current_device(device: torch.device) -> None:
    """Make this GPU the one that `cuda` without an index means, for example in user code."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def describe_device(device: torch.device, sources: Sequence[bytes] | None = None) -> DeviceInfo:
    """Describe the device, the machine and the versions of the software, for a run with this user code.

    `sources`: the contents of the user's files; None describes the machine with all its limitations.
    """
    cudnn: int | None = torch.backends.cudnn.version() if torch.cuda.is_available() else None  # type: ignore[no-untyped-call]
    return DeviceInfo(
        device=str(device),
        name=torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        torch=torch.__version__,
        torchvision=_version("torchvision"),
        cuda=torch.version.cuda if torch.cuda.is_available() else None,
        cudnn=str(cudnn) if cudnn else None,
        threads=torch.get_num_threads(),
        cpu=_cpu_name(),
        cpu_count=len(os.sched_getaffinity(0)),
        memory_total=psutil.virtual_memory().total,
        gpus=_gpus(),
        notes=_notes(sources),
    )


def _best_device(key: str) -> torch.device:
    if torch.cuda.is_available():
        gpus = range(torch.cuda.device_count())
        return torch.device("cuda", max(gpus, key=_free_memory) if len(gpus) > 1 else 0)
    if _nvidia_gpu_present() and not _all_hidden():
        raise DeviceError(
            f"{key}: torch cannot use this machine's NVIDIA GPU: {_why_no_cuda()}; "
            f"to train on the CPU, set {key} to 'cpu'"
        )
    return torch.device("cpu")


def _free_memory(index: int) -> int:
    """Free memory in bytes, from NVML: torch itself needs free memory on the GPU to answer."""
    with suppress(ImportError):
        import pynvml

        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            uuid = torch.cuda.get_device_properties(index).uuid
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
            return int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)
    return torch.cuda.mem_get_info(index)[0]


def _gpus() -> list[GpuInfo]:
    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [
        GpuInfo(index=i, name=gpu.name, uuid=str(gpu.uuid), memory_total=gpu.total_memory)
        for i, gpu in enumerate(found)
    ]


def _notes(sources: Sequence[bytes] | None) -> list[str]:
    notes = []
    if not torch.cuda.is_available() and _nvidia_gpu_present():
        notes.append(f"torch cannot use this machine's NVIDIA GPU: {_why_no_cuda()}")
    limitation = prepare_torchvision()
    if limitation and (sources is None or uses_operators(sources)):
        notes.append(limitation)
    return notes


def _nvidia_gpu_present() -> bool:
    """Whether the kernel driver lists a GPU; needs neither NVML nor torch."""
    return DRIVER_GPUS.is_dir() and any(DRIVER_GPUS.iterdir())


def _all_hidden() -> bool:
    """Whether the user or a batch system has hidden all GPUs."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA; install a build with CUDA"
    if _all_hidden():
        return "CUDA_VISIBLE_DEVICES hides all GPUs; unset it"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        reason = str(error).partition(". ")[0].partition("\n")[0]
    else:
        reason = "no usable driver"
    return f"torch {torch.__version__} for CUDA {torch.version.cuda} reports: {reason}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
