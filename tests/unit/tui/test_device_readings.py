"""The readings of the machine: what is known, what is not, and what is a warning."""

from __future__ import annotations

import pytest

from tests.support.scripted import DEVICE, TELEMETRY
from torchconsole.engine.protocol.info import DeviceInfo, GpuInfo, GpuLoad, GpuProcess, Telemetry
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.device_readings import (
    MEAN_OF_GPUS,
    Reading,
    data_remedy,
    data_verdict,
    other_processes,
    readings,
)
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.device_pane import DevicePane
from torchconsole.tui.widgets.device_panel import DevicePanel, device_rows


class Panel(DevicePanel):
    """The panel outside of an app: the line to its terminal is fast enough for everything."""

    app = None  # type: ignore[assignment]


def state(
    telemetry: Telemetry = TELEMETRY, device: DeviceInfo = DEVICE, wait: float | None = 0.05
) -> ConsoleState:
    """Return the state of a live run with these measurements."""
    metrics: dict[str, float | None] = {} if wait is None else {"data_wait": wait}
    run = RunState(
        name="x", folder="/x", device=device, telemetry=telemetry, metrics=metrics, status="running"
    )
    found = ConsoleState(run, connection="live")
    for _ in range(40):
        found.device_history.add(telemetry)
    return found


def reading(name: str, of: ConsoleState) -> Reading:
    """Return the reading with this name."""
    return next(one for one in readings(of) if one.name == name)


def gpu(**values: float) -> Telemetry:
    """Return measurements in which the GPU that trains has these values."""
    load = GpuLoad.model_validate({"index": 0, **values})
    return TELEMETRY.model_copy(update={"gpus": [load]})


def test_a_gpu_is_measured_completely() -> None:
    texts = {one.name: one.text for one in readings(state())}
    assert texts == {
        "GPU": "87 %",
        "memory": "5.0/139G",
        "temp": "54 °C",
        "power": "508/700W",
        "CPU": "12 %",
        "RAM": "20.0/128G",
        "disk": "400G free",
        "data wait": "5 %",
    }
    assert reading("memory", state()).remark == "ours 3G, others 2G"
    assert reading("RAM", state()).remark == "worker 1.5G, 2 loaders 1G"


def test_what_no_source_knows_is_not_available() -> None:
    unknown = state(Telemetry(), wait=None)
    assert {one.text for one in readings(unknown)} == {"n/a"}
    assert [one.share for one in readings(unknown)] == [None] * 8
    for stage in ("tiny", "small", "normal", "large"):
        for widget in (Panel(unknown), DevicePane(unknown)):
            widget.stage = stage  # type: ignore[assignment]
            assert any("n/a" in text for line in widget.draw(100, 30) for text, _ in line)


def test_a_cpu_has_no_readings_of_a_gpu() -> None:
    device = DEVICE.model_copy(update={"device": "cpu", "gpus": []})
    assert [one.name for one in readings(state(device=device))] == ["CPU", "RAM", "disk", "data wait"]


@pytest.mark.parametrize(
    ("name", "values", "tone"),
    [
        ("GPU", {"percent": 70}, "good"),
        ("GPU", {"percent": 69}, "attn"),
        ("memory", {"memory_used": 90, "memory_total": 100}, "attn"),
        ("memory", {"memory_used": 89, "memory_total": 100}, "meter"),
        ("temp", {"temperature": 80}, "bad"),
        ("temp", {"temperature": 79}, "meter"),
    ],
)
def test_a_limit_that_is_passed_is_marked(name: str, values: dict[str, float], tone: str) -> None:
    assert reading(name, state(gpu(**values))).tone == tone


@pytest.mark.parametrize(("wait", "is_warning"), [(0.0, False), (0.199, False), (0.2, True), (0.9, True)])
def test_waiting_for_data_is_a_warning_from_a_fifth_of_the_time(wait: float, is_warning: bool) -> None:
    shown = state(wait=wait)
    assert (reading("data wait", shown).tone == "attn") is is_warning
    assert bool(data_verdict(shown)) is is_warning


def test_the_verdict_says_who_waits_and_what_to_do() -> None:
    waiting = state(wait=0.34)
    waiting.run.config = {"data": {"num_workers": 2}}
    assert data_verdict(waiting) == "the GPU waits for data 34% of the time"
    assert data_remedy(waiting) == "raise data.num_workers (now 2); see the log"
    waiting.run.config = {"data": {"num_workers": 2, "in_memory": True, "batch_size": 64}}
    assert data_remedy(waiting) == "the samples are in memory: raise data.batch_size (now 64)"
    panel = " ".join(text.strip(" │") for line in Panel(waiting).draw(38, 16) for text, _ in line)
    assert "waits for data" in panel
    assert device_rows(waiting, "normal") > device_rows(state(), "normal")


def test_every_gpu_is_shown() -> None:
    loads = [GpuLoad(index=index, percent=10 * index, memory_used=2**30) for index in range(8)]
    infos = [GpuInfo(index=index, name="x", uuid=str(index)) for index in range(8)]
    device = DEVICE.model_copy(update={"gpus": infos, "device": "cuda:3"})
    many = state(TELEMETRY.model_copy(update={"gpus": loads}), device)
    assert reading("GPU", many).text == "30 %"
    assert reading(MEAN_OF_GPUS, many).text == "·▁▂▂▃▄▅▆"
    pane = DevicePane(many)
    shown = "\n".join("".join(text for text, _ in line) for line in pane.draw(120, 37))
    for index in (0, 1, 2, 4, 5, 6, 7):
        assert f"GPU {index}  {10 * index} %" in shown
    assert "data wait" in shown


@pytest.mark.parametrize("stage", ["tiny", "small", "normal", "large"])
@pytest.mark.parametrize(
    ("width", "height"), [(40, 1), (38, 4), (38, 11), (62, 16), (120, 37), (200, 57), (80, 20)]
)
def test_every_size_is_drawn(stage: str, width: int, height: int) -> None:
    for shown in (state(), state(wait=0.5)):
        for widget in (Panel(shown), DevicePane(shown)):
            widget.stage = stage  # type: ignore[assignment]
            lines = widget.draw(width, height)
            assert len(lines) <= height
            assert all(sum(len(text) for text, _ in line) <= width for line in lines)


def test_peak_reserved_and_other_processes_are_shown() -> None:
    others = [
        GpuProcess(pid=71, memory=12 * 2**30, user="ann", command="python"),
        GpuProcess(pid=72),
    ]
    load = TELEMETRY.gpus[0].model_copy(
        update={"memory_peak": 2 * 2**30, "memory_reserved": 5 * 2**29, "others": others}
    )
    shown = state(TELEMETRY.model_copy(update={"gpus": [load], "process_memory_peak": 2 * 2**30}))
    assert reading("memory", shown).remark == "ours 3G (peak 2G), reserved 2.5G, others 2G"
    assert reading("RAM", shown).remark == "worker 1.5G (peak 2G), 2 loaders 1G"
    assert other_processes(shown) == "ann: python 12G (pid 71), a process (pid 72)"
    pane = DevicePane(shown)
    text = "\n".join("".join(part for part, _ in line) for line in pane.draw(120, 40))
    assert "others  ann: python 12G (pid 71)" in text
    assert other_processes(state()) == ""
