"""The load of the machine as readings: a name, a text, a share of the limit, and its last minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torchconsole.engine.protocol.info import DeviceInfo, GpuLoad, GpuProcess, Telemetry
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_bytes, format_percent
from torchconsole.tui.state import ConsoleState

Fraction = float | None

BUSY_GPU = 0.7
"""A GPU that trains is busy from this share on; below it, something else holds the training up."""

FULL_MEMORY, HOT, FULL_DISK = 0.9, 80.0, 0.95
WAIT_SHARE = 0.2
"""Share of the time from which on waiting for data is a warning."""

_DEFAULT_HOT = 95.0
"""The end of the temperature's scale where the GPU names none, in degrees Celsius."""

_GIGA = 2**30
_BLOCKS = "·▁▂▃▄▅▆▇█"
MEAN_OF_GPUS = "all GPUs"
_MOST_BLOCKS = 10
"""With more GPUs than this, their mean is shown in place of a block for each."""


@dataclass(frozen=True)
class Reading:
    """One quantity. `share` is its part of the limit from 0 to 1, None if unknown; `own` that of this run.

    `of` computes the share from an earlier measurement, None where there is no history. The readings with
    the highest `rank` are dropped first where rows are few. `remark` explains the text where there is room.
    """

    name: str
    text: str
    share: Fraction
    tone: str
    of: Callable[[Telemetry], Fraction] | None = None
    own: Fraction = None
    rank: int = 0
    remark: str = ""
    limit: str = "100"


def readings(state: ConsoleState) -> list[Reading]:
    """Return what the device panel shows; empty before the first measurement and after the end."""
    run = state.run
    telemetry, device = (None if state.has_ended else run.telemetry), run.device
    if telemetry is None or device is None:
        return []
    found = _gpu_readings(telemetry, device) if device.device.startswith("cuda") else []
    found += [_cpu(telemetry, device), _ram(telemetry), _disk(telemetry)]
    wait = run.metrics.get("data_wait")
    found.append(
        Reading(
            "data wait",
            "n/a" if wait is None else f"{format_percent(wait)[:-1]} %",
            wait,
            "faint" if wait is None else "attn" if wait >= WAIT_SHARE else "meter",
            remark="of the time, waiting for batches",
        )
    )
    return found


def data_verdict(state: ConsoleState) -> str:
    """Return in words whether waiting for data slows the run down; empty if it does not."""
    wait = state.run.metrics.get("data_wait")
    if wait is None or wait < WAIT_SHARE or state.has_ended:
        return ""
    device = state.run.device
    who = "the GPU" if device is not None and device.device.startswith("cuda") else "the training"
    return f"{who} waits for data {format_percent(wait)} of the time"


def data_remedy(state: ConsoleState) -> str:
    """Return what to do about waiting for data. Workers cannot help with samples that are in memory."""
    data = state.run.config.get("data")
    if isinstance(data, dict) and data.get("in_memory") is True:
        size = f" (now {data['batch_size']})" if "batch_size" in data else ""
        return f"the samples are in memory: raise data.batch_size{size}"
    workers = _num_workers(state)
    now = "" if workers is None else f" (now {workers})"
    return f"raise data.num_workers{now}; see the log"


def _num_workers(state: ConsoleState) -> int | None:
    data = state.run.config.get("data")
    workers = data.get("num_workers") if isinstance(data, dict) else None
    return workers if isinstance(workers, int) and not isinstance(workers, bool) else None


def _gpu_readings(telemetry: Telemetry, device: DeviceInfo) -> list[Reading]:
    gpu = telemetry.gpu(device.device) or GpuLoad(index=0)

    def of(share: Callable[[GpuLoad], Fraction]) -> Callable[[Telemetry], Fraction]:
        def from_measurement(earlier: Telemetry) -> Fraction:
            load = earlier.gpu(device.device)
            return None if load is None else share(load)

        return from_measurement

    found = [
        Reading(
            "GPU",
            "n/a" if gpu.percent is None else f"{gpu.percent:.0f} %",
            _utilization(gpu),
            "faint" if gpu.percent is None else "good" if gpu.percent >= 100 * BUSY_GPU else "attn",
            of(_utilization),
        )
    ]
    if len(telemetry.gpus) > 1:
        found.append(_all_gpus(telemetry, device))
    memory = _memory_share(gpu)
    limit = gpu.temperature_limit or _DEFAULT_HOT
    is_hot = gpu.temperature is not None and gpu.temperature >= HOT
    return [
        *found,
        Reading(
            "memory",
            format_amount(gpu.memory_used, gpu.memory_total),
            memory,
            "attn" if memory is not None and memory >= FULL_MEMORY else "meter",
            of(_memory_share),
            own=_ratio(gpu.memory_ours, gpu.memory_total),
            remark=_ours_and_others(gpu),
            limit=_limit(gpu.memory_total),
        ),
        Reading(
            "temp",
            "n/a" if gpu.temperature is None else f"{gpu.temperature:.0f} °C",
            _ratio(gpu.temperature, limit),
            "bad" if is_hot else "meter",
            of(lambda load: _ratio(load.temperature, load.temperature_limit or _DEFAULT_HOT)),
            rank=2,
            remark="" if gpu.temperature_limit is None else f"slows down from {limit:.0f}",
            limit=f"{limit:.0f}",
        ),
        Reading(
            "power",
            "n/a" if gpu.power is None else f"{gpu.power:.0f}{_slash(gpu.power_limit)}W",
            _ratio(gpu.power, gpu.power_limit),
            "meter",
            of(lambda load: _ratio(load.power, load.power_limit)),
            rank=3,
            limit="W" if gpu.power_limit is None else f"{gpu.power_limit:.0f}",
        ),
    ]


def _all_gpus(telemetry: Telemetry, device: DeviceInfo) -> Reading:
    """One reading for all GPUs: their utilization, in the order of their indices."""
    shares = [_utilization(gpu) for gpu in telemetry.gpus]
    mean = _mean(shares)
    texts = ["n/a" if gpu.percent is None else f"{gpu.percent:.0f}" for gpu in telemetry.gpus]
    blocks = "".join(_BLOCKS[0 if share is None else round(8 * min(1.0, share))] for share in shares)
    return Reading(
        MEAN_OF_GPUS,
        "n/a" if mean is None else blocks if len(blocks) <= _MOST_BLOCKS else f"{100 * mean:.0f} %",
        mean,
        "meter",
        lambda earlier: _mean([_utilization(gpu) for gpu in earlier.gpus]),
        rank=1,
        remark=" ".join(texts),
    )


def _cpu(telemetry: Telemetry, device: DeviceInfo) -> Reading:
    own = (
        ""
        if telemetry.process_cpu_percent is None
        else f", this run {telemetry.process_cpu_percent / 100:.1f}"
    )
    return Reading(
        "CPU",
        "n/a" if telemetry.cpu_percent is None else f"{telemetry.cpu_percent:.0f} %",
        _percent(telemetry.cpu_percent),
        "meter",
        lambda earlier: _percent(earlier.cpu_percent),
        rank=4,
        remark=f"of {device.cpu_count} core{'s' * (device.cpu_count != 1)}{own}",
    )


def _ram(telemetry: Telemetry) -> Reading:
    share = _ratio(telemetry.memory_used, telemetry.memory_total)
    return Reading(
        "RAM",
        format_amount(telemetry.memory_used, telemetry.memory_total),
        share,
        "attn" if share is not None and share >= FULL_MEMORY else "meter",
        lambda earlier: _ratio(earlier.memory_used, earlier.memory_total),
        own=_ratio((telemetry.process_memory or 0) + (telemetry.loaders_memory or 0), telemetry.memory_total),
        rank=5,
        remark=_worker_memory(telemetry),
        limit=_limit(telemetry.memory_total),
    )


def _disk(telemetry: Telemetry) -> Reading:
    free, total = telemetry.disk_free, telemetry.disk_total
    share = None if free is None or not total else 1 - free / total
    is_full = share is not None and (share >= FULL_DISK or (free or 0) < 2 * _GIGA)
    return Reading(
        "disk",
        "n/a" if free is None else f"{_short_bytes(free)} free",
        share,
        "attn" if is_full else "meter",
        lambda earlier: (
            None if earlier.disk_free is None else _ratio(_used_disk(earlier), earlier.disk_total)
        ),
        rank=6,
        remark="" if not total else f"of {_short_bytes(total)}, where the run's folder is",
        limit=_limit(total),
    )


def _used_disk(telemetry: Telemetry) -> int:
    return (telemetry.disk_total or 0) - (telemetry.disk_free or 0)


def _worker_memory(telemetry: Telemetry) -> str:
    parts = []
    if telemetry.process_memory is not None:
        most = telemetry.process_memory_peak
        peak = "" if most is None else f" (peak {_short_bytes(most)})"
        parts.append(f"worker {_short_bytes(telemetry.process_memory)}{peak}")
    if telemetry.loaders:
        parts.append(
            f"{telemetry.loaders} loader{'s' * (telemetry.loaders != 1)} "
            f"{_short_bytes(telemetry.loaders_memory or 0)}"
        )
    return ", ".join(parts)


def _ours_and_others(gpu: GpuLoad) -> str:
    if gpu.memory_ours is None or gpu.memory_used is None:
        return ""
    others = max(0, gpu.memory_used - gpu.memory_ours)
    peak = "" if gpu.memory_peak is None else f" (peak {_short_bytes(gpu.memory_peak)})"
    reserved = "" if gpu.memory_reserved is None else f", reserved {_short_bytes(gpu.memory_reserved)}"
    return f"ours {_short_bytes(gpu.memory_ours)}{peak}{reserved}, others {_short_bytes(others)}"


def other_processes(state: ConsoleState) -> str:
    """Return who else is on the GPU that trains: `ann: python 12G (pid 71), ...`, or an empty text."""
    telemetry, device = (None if state.has_ended else state.run.telemetry), state.run.device
    gpu = telemetry.gpu(device.device) if telemetry and device else None
    return ", ".join(map(_describe_process, gpu.others)) if gpu else ""


def _describe_process(process: GpuProcess) -> str:
    memory = "" if process.memory is None else f" {_short_bytes(process.memory)}"
    user = f"{printable(process.user)}: " if process.user else ""
    return f"{user}{printable(process.command) or 'a process'}{memory} (pid {process.pid})"


def format_amount(used: int | None, total: int | None) -> str:
    """`31.5/141G`, or only the used part if the total is unknown."""
    if used is None:
        return "n/a"
    if not total:
        return _short_bytes(used)
    digits = 1 if total < 1000 * _GIGA else 0
    return f"{used / _GIGA:.{digits}f}/{total / _GIGA:.0f}G"


def _short_bytes(value: int) -> str:
    """`31.5G`: as `format_bytes`, without the blank and the B."""
    return format_bytes(value).replace(" ", "").removesuffix("B")


def _limit(total: int | None) -> str:
    return "" if not total else f"{total / _GIGA:.0f}"


def _slash(limit: float | None) -> str:
    return " " if limit is None else f"/{limit:.0f}"


def _utilization(gpu: GpuLoad) -> Fraction:
    return _percent(gpu.percent)


def _memory_share(gpu: GpuLoad) -> Fraction:
    return _ratio(gpu.memory_used, gpu.memory_total)


def _percent(value: float | None) -> Fraction:
    return None if value is None else value / 100


def _ratio(value: float | None, limit: float | None) -> Fraction:
    return None if value is None or not limit else value / limit


def _mean(shares: list[Fraction]) -> Fraction:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None
