"""A GPU that does not tell how it is: n/a, and nothing else is the worse for it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from tests.unit.test_runtime_telemetry import device
from torchconsole.engine.protocol.events import GpuInfo, Telemetry
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.runtime.telemetry import TelemetryProbe
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.device_panel import DevicePanel

DEVICE = device("cuda:0", [GpuInfo(index=0, name="a GPU", uuid="GPU-0")])
CALLS = ("nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetUtilizationRates")


class BrokenNvml(ModuleType):
    """NVML whose calls fail from a certain one on, as when the driver is replaced under a run."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        """As in pynvml."""

    def __init__(self, sound: int) -> None:
        super().__init__("pynvml")
        self._sound = CALLS[:sound]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*_: Any) -> None:
            if name not in self._sound:
                raise self.NVMLError("Driver/library version mismatch")

        return call


def shown(telemetry: Telemetry) -> str:
    """What the device panel shows of a measurement."""
    state = ConsoleState(
        RunState(name="x", folder="/x", device=DEVICE, telemetry=telemetry), connection="live"
    )
    state.run.status = "running"
    return "\n".join("".join(text for text, _ in line) for line in DevicePanel(state).draw(60, 10))


@pytest.mark.parametrize("sound", range(len(CALLS)))
def test_nvml_fails(monkeypatch: pytest.MonkeyPatch, sound: int) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", BrokenNvml(sound))
    told = TelemetryProbe().measure(DEVICE)
    assert told.gpu_percent is None
    assert told.memory_total
    assert "GPU n/a" in shown(told)


def test_a_gpu_that_tells_is_shown() -> None:
    assert "GPU 50%" in shown(Telemetry(gpu_percent=50.0))
