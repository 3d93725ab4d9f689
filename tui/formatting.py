"""Formats numbers, times, sizes and phases for narrow columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchconsole.engine.protocol.events import PhaseChanged
    from torchconsole.engine.protocol.reports import StepMemory

_COUNT_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_ALWAYS_COMPUTED = ("loss", "ema_loss", "lr", "grad_norm", "samples_per_sec")
_BYTE_UNITS = ((2**40, "TB"), (2**30, "GB"), (2**20, "MB"), (2**10, "kB"))


def format_number(value: float, digits: int = 3) -> str:
    """Format a number with `digits` significant digits: 0.0178, 1230, 1.2e-5, NaN."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    if value and not 1e-4 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        if "." in mantissa:
            mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa}e{int(exponent)}"
    text = f"{value:.{digits}g}"
    return f"{float(text):g}" if "e" in text else text


def format_lr(value: float) -> str:
    """Format a learning rate with as many digits as the engine's messages: 0.01778, 1.25e-5."""
    return format_number(value, 4)


def format_metric(value: float) -> str:
    """Format a loss or an accuracy with a steady width: 0.3120, 12.40."""
    if not math.isfinite(value) or (value and not 1e-2 <= abs(value) < 1e4):
        return format_number(value)
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def format_named_metric(name: str, value: float | None) -> str:
    """Format the value of a metric: a loss may be NaN, another metric that has no value is n/a."""
    if value is None or math.isnan(value):
        return "NaN" if name.rpartition("/")[2] in _ALWAYS_COMPUTED else "n/a"
    return format_metric(value)


def format_percent(fraction: float) -> str:
    """Format a fraction as a percentage, rounded down: `100%` means complete."""
    return f"{math.floor(100 * fraction + 1e-9)}%"


def format_count(value: float) -> str:
    """Format a count with at most five characters: 987, 18.5k, 2.5M."""
    for size, unit in _COUNT_UNITS:
        if abs(value) >= size * 0.9995:
            return format_number(value / size) + unit
    return format_number(value)


def format_speed(value: float) -> str:
    """Format samples per second with at most six characters: 3,204, 2.5M."""
    return f"{value:,.0f}" if 10 <= value < 99_999.5 else format_count(value)


def format_bytes(value: float) -> str:
    """Format a size in bytes with units of powers of 1024: 512 B, 1.25 GB."""
    for size, unit in _BYTE_UNITS:
        if value >= size:
            return f"{format_number(value / size)} {unit}"
    return f"{value:.0f} B"


def format_step_memory(parts: StepMemory) -> str:
    """Format what holds the memory of a step: `parameters 84 kB, gradients 84 kB, activations 27 kB`."""
    return ", ".join(f"{part} {format_bytes(size)}" for part, size in parts if size)


def format_duration(seconds: float) -> str:
    """Format seconds as 0:42, 12:05, 3:02:05 or 2d 04:05."""
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def format_phase(phase: PhaseChanged) -> str:
    """Format the name and subject of a phase: `decoding samples (train)`."""
    return f"{phase.phase} ({phase.subject})" if phase.subject else phase.phase


def seconds_left(phase: PhaseChanged) -> float | None:
    """Return how long the rest of a phase takes at its mean speed so far; None while unknown."""
    if phase.began is None or not phase.done or not phase.total:
        return None
    return max(0.0, (phase.total - phase.done) * (phase.time - phase.began) / phase.done)


def format_progress(phase: PhaseChanged) -> str:
    """Format a phase's progress: `12,000 of 50,000`, `3 MB of 170 MB`, `45%`; empty if unknown."""
    if phase.done is None:
        return ""
    if phase.unit == "%":
        return f"{phase.done}%"
    counts = [phase.done] if phase.total is None else [phase.done, phase.total]
    if phase.unit == "bytes":
        return " of ".join(map(format_bytes, counts))
    return " of ".join(f"{count:,}" for count in counts) + (f" {phase.unit}" if phase.unit else "")
