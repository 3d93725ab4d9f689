"""Chooses the device and tells what this machine has, and why torch cannot use what it cannot."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import psutil
import torch

from torchconsole.engine.components.torchvision_compat import prepare_torchvision
from torchconsole.engine.errors import DeviceError
from torchconsole.engine.protocol.events import DeviceInfo, GpuInfo

DRIVER = Path("/proc/driver/nvidia/gpus")
"""Where NVIDIA's kernel driver has a folder for each GPU."""

DEVICE_ERRORS = (torch.AcceleratorError, torch.OutOfMemoryError)
"""What torch raises for a GPU that fails or is full: no fault of the arguments that were tried on it."""


def choose_device(wanted: str) -> torch.device:
    """The device for `training.device`; `auto` takes the GPU with the most free memory, else the CPU.

    Raises DeviceError for a device that is not there, and where a GPU is there that torch cannot use, unless
    CUDA_VISIBLE_DEVICES hides it.
    """
    if wanted == "auto":
        return _best_device()
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"training.device: {wanted} cannot be used: {_why_no_cuda()}; or set it to 'cpu'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"training.device: there is no {wanted}, torch sees {torch.cuda.device_count()} GPU(s)"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("training.device: mps is not available on this machine; set it to 'cpu'")
    return device


def make_current(device: torch.device) -> None:
    """Have "cuda" without a number, as the user's own code may say it, mean this GPU."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def describe_device(device: torch.device) -> DeviceInfo:
    """What trains, and the software that drives it."""
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
        notes=_notes(),
    )


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        gpus = range(torch.cuda.device_count())
        return torch.device("cuda", max(gpus, key=_free_memory) if len(gpus) > 1 else 0)
    if _nvidia_gpu_present() and not _all_hidden():
        raise DeviceError(
            f"this machine has an NVIDIA GPU that torch cannot use: {_why_no_cuda()}; "
            "to train on the CPU all the same, set training.device to 'cpu'"
        )
    return torch.device("cpu")


def _free_memory(index: int) -> int:
    """Bytes, as NVML tells them: torch would take some of each GPU to ask, and fail where none is free."""
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


def _notes() -> list[str]:
    notes = []
    if not torch.cuda.is_available() and _nvidia_gpu_present():
        notes.append(f"an NVIDIA GPU is here that torch cannot use: {_why_no_cuda()}")
    if degraded := prepare_torchvision():
        notes.append(degraded)
    return notes


def _nvidia_gpu_present() -> bool:
    """Whether the kernel driver shows a GPU; works without NVML and without torch's help."""
    return DRIVER.is_dir() and any(DRIVER.iterdir())


def _all_hidden() -> bool:
    """Whether somebody, or a batch system, has said that no GPU is to be used."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA, install a CUDA build"
    if _all_hidden():
        return "CUDA_VISIBLE_DEVICES is set so that it hides every GPU, unset it"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        reason = str(error).partition(". ")[0].partition("\n")[0]
    else:
        reason = "no usable driver"
    return f"torch {torch.__version__} for CUDA {torch.version.cuda} finds: {reason}"


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
