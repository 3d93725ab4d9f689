"""The device panel: the device that trains, its load and the machine's, and the versions in use."""

from __future__ import annotations

from torchconsole.engine.protocol.info import DeviceInfo, Telemetry
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_bytes
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.lines import Line, LineWidget, flow

_BUSY_PERCENT = 90


class DevicePanel(LineWidget):
    """Device, load, memory and versions. Unknown values are left out; a GPU without telemetry shows `n/a`."""

    BORDER_TITLE = " device "

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """The device first, then the loads, then the versions and the warnings about the device."""
        device = self._state.run.device
        telemetry = None if self._state.has_ended else self._state.run.telemetry
        if device is None:
            return [[("not chosen yet", "muted")]]
        return [
            _device_line(device, width),
            *(flow(_gpu_load(telemetry, device), width) if telemetry else []),
            *(flow(_host_load(telemetry), width) if telemetry else []),
            *flow(_versions(device), width),
            *([(shorten(f"! {printable(note)}", width), "warn")] for note in device.notes),
        ]


def _device_line(device: DeviceInfo, width: int) -> Line:
    name = printable(device.device)
    threads = f" · {device.threads} thread{'s' * (device.threads > 1)}" if name == "cpu" else ""
    room = width - len(name) - len(threads) - 1
    return [
        (name, "strong"),
        (" ", "plain"),
        (shorten(printable(device.name), room), "plain"),
        (threads, "muted"),
    ]


def _gpu_load(telemetry: Telemetry, device: DeviceInfo) -> list[Line]:
    if device.device.startswith("cuda") and telemetry.gpu_percent is None:
        return [[("GPU ", "muted"), ("n/a", "warn")]]
    items = [_load("GPU", telemetry.gpu_percent)]
    items.append(_memory("", telemetry.gpu_memory_used, telemetry.gpu_memory_total))
    if telemetry.gpu_temperature is not None:
        items.append([(f"{telemetry.gpu_temperature:.0f}°C", "plain")])
    return [item for item in items if item]


def _host_load(telemetry: Telemetry) -> list[Line]:
    items = [
        _load("CPU", telemetry.cpu_percent),
        _memory("RAM ", telemetry.memory_used, telemetry.memory_total),
        [
            *_load("worker", telemetry.process_cpu_percent, busy=None),
            *_memory(" ", telemetry.process_memory, None),
        ],
    ]
    return [item for item in items if item]


def _load(name: str, percent: float | None, busy: float | None = _BUSY_PERCENT) -> Line:
    if percent is None:
        return []
    tone = "warn" if busy is not None and percent >= busy else "strong"
    return [(f"{name} ", "muted"), (f"{percent:.0f}%", tone)]


def _memory(name: str, used: int | None, total: int | None) -> Line:
    """`RAM 4.5/15.6 GB`, or only the used part if the total is unknown."""
    if used is None:
        return []
    if not total:
        return [(name, "muted"), (format_bytes(used), "strong")]
    amount, unit = format_bytes(total).split()
    scale = total / float(amount)
    return [(name, "muted"), (f"{used / scale:.1f}", "strong"), (f"/{amount} {unit}", "muted")]


def _versions(device: DeviceInfo) -> list[Line]:
    versions = [f"torch {device.torch}", f"CUDA {device.cuda}" if device.cuda else "no CUDA"]
    if device.cudnn:
        versions.append(f"cuDNN {device.cudnn}")
    return [[(printable(text), "muted")] for text in versions]
