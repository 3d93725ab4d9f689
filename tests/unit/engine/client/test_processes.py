"""The number of processes that train together."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from torchconsole.engine.client.processes import count_processes
from torchconsole.engine.errors import DeviceError


@dataclass
class Gpu:
    """A GPU as NVML shows it."""

    uuid: str
    used: int = 0
    processes: int = 0


@pytest.fixture(autouse=True)
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what the tests do to CUDA_VISIBLE_DEVICES, which is not set in them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")


def use_nvml(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> None:
    """Let NVML find these GPUs, of 100 bytes each."""
    nvml = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(gpus),
        nvmlDeviceGetHandleByIndex=gpus.__getitem__,
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=gpu.used, total=100),
        nvmlDeviceGetComputeRunningProcesses=lambda gpu: [object()] * gpu.processes,
        nvmlDeviceGetUUID=lambda gpu: gpu.uuid,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


def test_a_number_is_taken_as_it_is() -> None:
    assert count_processes("3") == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(DeviceError, match="must be auto or a whole number of 1 or more"):
        count_processes(text)


def test_auto_takes_the_free_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(
        monkeypatch, Gpu("GPU-a"), Gpu("GPU-b", processes=1), Gpu("GPU-c", used=4), Gpu("GPU-d", used=50)
    )
    assert count_processes("auto") == 2
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-c"


def test_auto_takes_the_gpus_that_a_batch_system_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5")
    use_nvml(monkeypatch, Gpu("GPU-a", processes=1))
    assert count_processes("auto") == 3
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3,5"


def test_auto_asks_for_a_number_where_no_gpu_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(monkeypatch)
    with pytest.raises(DeviceError, match=r"this machine has no GPU .*; give a number, such as --nproc 2"):
        count_processes("auto")
    use_nvml(monkeypatch, Gpu("GPU-a", processes=1), Gpu("GPU-b", used=50))
    with pytest.raises(DeviceError, match="all 2 GPUs of this machine are in use"):
        count_processes("auto")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(DeviceError, match="no GPU"):
        count_processes("auto")
