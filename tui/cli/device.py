"""`torchconsole device`: the devices of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchconsole.tui.cli.options import AsJson
from torchconsole.tui.cli.terminal import print_facts, print_json

if TYPE_CHECKING:
    from torchconsole.engine.protocol.info import DeviceInfo

GIB = 1024**3
INDENT = 12


def device(as_json: AsJson = False) -> int:
    """Print the device that training would use.

    Also prints the GPUs, the CPU, the memory and the versions of torch and CUDA, and why torch cannot use a
    device.
    """
    from torchconsole.engine.protocol.info import DeviceInfo
    from torchconsole.tui.cli.report import make_report

    report = make_report(DeviceInfo, "device")
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        print_facts(device_facts(report), INDENT)
    return 0


def device_facts(report: DeviceInfo) -> list[tuple[str, str]]:
    """Return labels and their texts."""
    gpus = [
        (
            f"gpu {gpu.index}",
            f"{gpu.name}, {gpu.memory_total / GIB:.1f} GiB" if gpu.memory_total else gpu.name,
        )
        for gpu in report.gpus
    ]
    return [
        ("device", f"{report.device} ({report.name})"),
        *gpus,
        ("cpu", f"{report.cpu}, {report.cpu_count} cores, torch uses {report.threads} threads"),
        ("memory", f"{report.memory_total / GIB:.1f} GiB"),
        ("torch", f"{report.torch}, torchvision {report.torchvision or 'none'}"),
        ("cuda", f"{report.cuda or 'none'}, cuDNN {report.cudnn or 'none'}"),
        *(("note", note) for note in report.notes),
    ]
