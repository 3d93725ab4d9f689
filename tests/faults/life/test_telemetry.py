"""A GPU whose driver fails or hangs is shown as n/a, and nothing else is affected."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.runs import STARTED, Served, make_folder, raw_client, wait_until
from tests.unit.engine.session.test_telemetry import device
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import PauseRun
from torchconsole.engine.protocol.info import GpuInfo, GpuLoad, Telemetry
from torchconsole.engine.protocol.messages import CommandRequest
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.session import server, telemetry
from torchconsole.engine.session.telemetry import TelemetryProbe
from torchconsole.tui.device_readings import readings
from torchconsole.tui.state import ConsoleState

DEVICE = device("cuda:0", [GpuInfo(index=0, name="a GPU", uuid="GPU-0")])
CALLS = ("nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetUtilizationRates")


class BrokenNvml(ModuleType):
    """NVML of which only the first `working` CALLS succeed, as after a driver update during a run."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        """As in pynvml."""

    def __init__(self, working: int) -> None:
        super().__init__("pynvml")
        self._working = CALLS[:working]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*_: Any) -> None:
            if name not in self._working:
                raise self.NVMLError("Driver/library version mismatch")

        return call


class HangingNvml(ModuleType):
    """NVML that blocks in one call until `driver_is_back` is set, and reports a GPU afterwards."""

    NVML_TEMPERATURE_GPU = 0
    NVMLError = BrokenNvml.NVMLError

    def __init__(self, at: str) -> None:
        super().__init__("pynvml")
        self.driver_is_back = threading.Event()
        self.calls: list[str] = []
        self._at = at

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*_: Any) -> Any:
            self.calls.append(name)
            if name == self._at:
                self.driver_is_back.wait()
            if name == "nvmlDeviceGetTemperature":
                return 60
            return SimpleNamespace(gpu=50, used=1, total=2)

        return call


def percent(measured: Telemetry) -> float | None:
    """Return the utilization of the first GPU; None if it is unknown."""
    return measured.gpus[0].percent if measured.gpus else None


def shown(measured: Telemetry) -> str:
    """Return what the device panel shows for a measurement."""
    state = ConsoleState(
        RunState(name="x", folder="/x", device=DEVICE, telemetry=measured), connection="live"
    )
    state.run.status = "running"
    return "\n".join(f"{reading.name} {reading.text}" for reading in readings(state))


@pytest.mark.parametrize("working", range(len(CALLS)))
def test_a_failing_nvml_is_shown_as_not_available(monkeypatch: pytest.MonkeyPatch, working: int) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", BrokenNvml(working))
    measured = TelemetryProbe().measure(DEVICE)
    assert percent(measured) is None
    assert measured.memory_total
    assert "GPU n/a" in shown(measured)


def test_the_utilisation_of_a_gpu_is_shown() -> None:
    assert "GPU 50 %" in shown(Telemetry(gpus=[GpuLoad(index=0, percent=50.0)]))


@pytest.mark.parametrize("at", CALLS)
def test_a_hanging_nvml_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """It is not called again while it hangs, and used again as soon as it answers."""
    nvml = HangingNvml(at)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    probe = TelemetryProbe()
    for _ in range(3):
        measured = probe.measure(DEVICE)
        assert measured.memory_total
        assert "GPU n/a" in shown(measured)
    assert nvml.calls.count(at) == 1
    nvml.driver_is_back.set()
    wait_until(lambda: percent(probe.measure(DEVICE)) == 50, "the GPU's figures")


def test_old_measurements_disappear_when_nvml_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = HangingNvml("nvmlDeviceGetTemperature")
    nvml.driver_is_back.set()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(telemetry, "STALE_SECONDS", 0.2)
    probe = TelemetryProbe()
    wait_until(lambda: percent(probe.measure(DEVICE)) == 50, "the GPU's figures")
    nvml.driver_is_back.clear()
    wait_until(lambda: percent(probe.measure(DEVICE)) is None, "n/a")
    nvml.driver_is_back.set()


async def test_a_run_is_served_while_nvml_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvml = HangingNvml("nvmlInit")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(server, "TELEMETRY_SECONDS", 0.05)
    with Served(make_folder(tmp_path)) as served:
        served.event_queue.emit(ev.DeviceDescribed(device=DEVICE))
        served.event_queue.emit(STARTED)
        async with raw_client(served.address) as client:
            await client.receive_snapshot()
            wait_until(lambda: "nvmlInit" in nvml.calls, "the call that hangs")
            measured = (await client.receive_until(ev.TelemetryMeasured))[-1]
            assert "GPU n/a" in shown(measured.telemetry)
            client.send(CommandRequest(id="c1", command=PauseRun()))
            assert (await client.receive_until(ev.CommandAccepted))[-1].id == "c1"
    nvml.driver_is_back.set()
