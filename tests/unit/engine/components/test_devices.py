"""Devices are chosen and described; a device that cannot be used is reported with a remedy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
import torch

from torchconsole.engine.components import devices
from torchconsole.engine.components.devices import choose_device, describe_device, set_current_device
from torchconsole.engine.errors import DeviceError


def test_the_cpu_can_always_be_chosen_and_described() -> None:
    info = describe_device(choose_device("cpu"))
    assert info.device == "cpu"
    assert info.torch == torch.__version__
    assert info.memory_total > 0


def test_missing_operators_of_torchvision_are_told_to_the_runs_that_use_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "prepare_torchvision", lambda: "no nms")
    cpu = torch.device("cpu")
    assert "no nms" in describe_device(cpu).notes
    assert "no nms" in describe_device(cpu, [b"from torchvision.ops import nms"]).notes
    assert "no nms" not in describe_device(cpu, [b"import torchvision"]).notes


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU on a machine without one")
def test_a_missing_gpu_is_reported_with_a_remedy() -> None:
    with pytest.raises(DeviceError, match=r"set training.device to 'cpu'"):
        choose_device("cuda")
    with pytest.raises(DeviceError, match=r"^--device: cannot use cuda.* or set --device to 'cpu'$"):
        choose_device("cuda", "--device")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch and NVML report two GPUs, the second with more free memory."""
    free = {"GPU-first": 2**30, "GPU-second": 2**33}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=("first", "second")[index])
    )
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda handle: SimpleNamespace(free=free[handle]))


@pytest.mark.usefixtures("two_gpus")
def test_auto_selects_the_gpu_with_the_most_free_memory_without_using_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch itself would allocate memory on each GPU to find out."""
    monkeypatch.delattr(torch.cuda, "mem_get_info")
    assert choose_device("auto") == torch.device("cuda", 1)


@pytest.mark.usefixtures("two_gpus")
def test_torch_is_used_if_nvml_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: ((2**33, 2**30)[index], 2**34))
    assert choose_device("auto") == torch.device("cuda", 0)


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_with_an_index_becomes_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """User code often uses "cuda" without an index."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    for device in ("cpu", "cuda", "cuda:1"):
        set_current_device(choose_device(device))
    assert current == [torch.device("cuda", 1)]


def test_torchs_reason_is_reported_for_an_unusable_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError(
            "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver"
        )

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", fail)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(
        DeviceError, match=r"driver on your system is too old \(found version 11040\), or set"
    ):
        choose_device("cuda")


def test_a_gpu_that_torch_cannot_use_is_an_error_unless_it_is_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setattr(devices, "DRIVER_GPUS", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(DeviceError, match="to train on the CPU, set"):
        choose_device("auto")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device("auto") == torch.device("cpu")
