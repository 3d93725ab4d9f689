"""`torchconsole device`: what this machine has to train with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchconsole.engine.text import printable
from torchconsole.tui.cli.options import AsJson
from torchconsole.tui.cli.output import print_json

if TYPE_CHECKING:
    from torchconsole.engine.protocol.info import DeviceInfo

GIB = 1024**3


def device(as_json: AsJson = False) -> int:
    """Print the device that training would use.

    And the machine, and the versions of what drives it.
    """
    from torchconsole.engine.protocol.info import DeviceInfo
    from torchconsole.tui.cli.report import make_report

    report = make_report(DeviceInfo, "device")
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        for label, text in rows(report):
            print(f"{label:<12}{printable(text)}".rstrip())
    return 0


def rows(report: DeviceInfo) -> list[tuple[str, str]]:
    """Labels and what is to be said below them."""
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
