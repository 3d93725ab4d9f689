"""Telemetry of the machine, with and without a GPU that NVML supports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pynvml
import pytest

from tests.support.runs import wait_until
from torchconsole.engine.protocol.info import DeviceInfo, GpuInfo, GpuLoad, GpuProcess
from torchconsole.engine.session import telemetry
from torchconsole.engine.session.telemetry import TelemetryProbe


def device(name: str, gpus: list[GpuInfo]) -> DeviceInfo:
    return DeviceInfo(
        device=name, name="x", torch="2", threads=1, cpu="x", cpu_count=1, memory_total=1, gpus=gpus
    )


def test_the_process_is_measured() -> None:
    measured = TelemetryProbe().measure(None)
    assert measured.process_memory is not None
    assert measured.process_memory > 10**6
    assert measured.process_memory_peak is not None
    assert 0.5 * measured.process_memory < measured.process_memory_peak < 2**40
    assert measured.memory_total is not None
    assert measured.memory_used is not None
    assert 0 < measured.memory_used < measured.memory_total
    assert measured.cpu_percent is not None
    assert measured.process_cpu_percent is not None


@pytest.mark.parametrize(
    ("name", "gpus"),
    [
        ("cpu", []),
        ("cuda", []),
        ("cuda:0", [GpuInfo(index=0, name="a GPU without a UUID")]),
        (
            "cuda:1",
            [GpuInfo(index=1, name="a GPU that is not there", uuid="00000000-0000-0000-0000-000000000000")],
        ),
    ],
)
def test_the_values_of_a_gpu_that_does_not_answer_are_none(name: str, gpus: list[GpuInfo]) -> None:
    measured = TelemetryProbe().measure(device(name, gpus))
    assert measured.memory_total
    assert measured.gpus == []


@pytest.mark.parametrize("kind", ["GPU", "MIG"])
def test_a_gpu_or_a_part_of_one_is_found_by_its_uuid(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a GPU reports its memory, but not its utilization."""

    def find(uuid: str) -> str:
        if uuid != f"{kind}-1234":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return uuid

    def refuse(*_: Any) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", find)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda handle: SimpleNamespace(used=5, total=9))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", refuse)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTemperature", lambda handle, sensor: 40)
    probe, gpu = TelemetryProbe(), device("cuda:0", [GpuInfo(index=0, name="x", uuid="1234")])
    [measured] = wait_until(lambda: probe.measure(gpu).gpus)
    assert (measured.memory_used, measured.memory_total) == (5, 9)
    assert (measured.percent, measured.temperature) == (None, 40)


def test_all_gpus_are_measured_with_power_and_the_memory_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = SimpleNamespace(pid=os.getpid(), usedGpuMemory=3)
    others = SimpleNamespace(pid=1, usedGpuMemory=4)
    for name, answer in {
        "nvmlDeviceGetHandleByUUID": None,
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=7, total=9),
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=90),
        "nvmlDeviceGetTemperature": 40,
        "nvmlDeviceGetTemperatureThreshold": 87,
        "nvmlDeviceGetPowerUsage": 500_000,
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetComputeRunningProcesses": [ours, others],
    }.items():
        monkeypatch.setattr(pynvml, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    infos = [GpuInfo(index=index, name="x", uuid=str(index)) for index in range(2)]
    probe = TelemetryProbe()
    measured = wait_until(lambda: probe.measure(device("cuda:1", infos)).gpus)
    assert [gpu.index for gpu in measured] == [0, 1]
    first = measured[0]
    assert (first.percent, first.memory_ours, first.memory_used) == (90, 3, 7)
    assert (first.power, first.power_limit, first.temperature_limit) == (500, 700, 87)


def test_the_disk_of_the_folder_and_the_child_processes_are_measured(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        measured = wait_until(lambda: (found := TelemetryProbe().measure(None, tmp_path)).disk_free and found)
        assert 0 < measured.disk_free < measured.disk_total
        assert measured.loaders
        assert measured.loaders_memory
        child.communicate(b"\n")
    missing = TelemetryProbe().measure(None, tmp_path / "missing")
    assert missing.disk_free is None


def gpu_with(monkeypatch: pytest.MonkeyPatch, *processes: tuple[int, int | None]) -> GpuLoad:
    """Measure a GPU that these processes use: pid and bytes."""
    listed = [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in processes]
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda handle: listed)
    probe, gpu = TelemetryProbe(), device("cuda:0", [GpuInfo(index=0, name="x", uuid="1234")])
    [measured] = wait_until(lambda: probe.measure(gpu).gpus)
    return measured


def test_who_else_is_on_the_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as elsewhere:
        monkeypatch.setattr(telemetry, "_child_processes", list)
        gone = 2**22 + 1
        found = gpu_with(monkeypatch, (gone, None), (os.getpid(), 3), (elsewhere.pid, 7))
        process = psutil.Process(elsewhere.pid)
        expected = GpuProcess(pid=elsewhere.pid, memory=7, user=process.username(), command=process.name())
        elsewhere.communicate(b"\n")
    assert found.others == [expected, GpuProcess(pid=gone)]
    assert found.memory_ours == 3


def test_a_container_that_lists_other_pids_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is among them, under another pid."""
    cuda = SimpleNamespace(
        is_initialized=lambda: True, memory_reserved=lambda index: 5, max_memory_allocated=lambda index: 4
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    found = gpu_with(monkeypatch, (2**22 + 1, 7))
    assert found.others == []
    assert (found.memory_ours, found.memory_reserved, found.memory_peak) == (5, 5, 4)
