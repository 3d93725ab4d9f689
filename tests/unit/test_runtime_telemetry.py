"""The machine's figures, with and without a GPU that can be asked."""

from __future__ import annotations

import pytest

from torchconsole.engine.protocol.events import DeviceInfo, GpuInfo
from torchconsole.engine.runtime.telemetry import TelemetryProbe


def device(name: str, gpus: list[GpuInfo]) -> DeviceInfo:
    return DeviceInfo(
        device=name, name="x", torch="2", threads=1, cpu="x", cpu_count=1, memory_total=1, gpus=gpus
    )


def test_the_process_is_measured() -> None:
    told = TelemetryProbe().measure(None)
    assert told.process_memory is not None
    assert told.process_memory > 10**6
    assert told.memory_total is not None
    assert told.memory_used is not None
    assert 0 < told.memory_used < told.memory_total
    assert told.cpu_percent is not None
    assert told.process_cpu_percent is not None


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
def test_a_gpu_that_tells_nothing_is_unknown(name: str, gpus: list[GpuInfo]) -> None:
    told = TelemetryProbe().measure(device(name, gpus))
    assert told.memory_total
    assert (told.gpu_percent, told.gpu_memory_used, told.gpu_temperature) == (None, None, None)
