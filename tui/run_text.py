"""A run on one line: what the menu's list and `torchconsole runs` say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_metric, format_number, format_percent

if TYPE_CHECKING:
    from torchconsole.engine.run.folder import RunRecord

HEADINGS = ("STATUS", "RUN", "PROGRESS", "STEP", "BEST", "AGE", "HOST", "PRESET", "LR")
NUMBERS = (2, 3, 5, 8)
"""Columns that read best flush right."""

_AGE_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def run_cells(record: RunRecord, now: float) -> tuple[str, ...]:
    """The run below HEADINGS; its age is the time from its start to `now`, in seconds since the epoch."""
    best = f"{record.best['metric']} {format_metric(record.best['value'])}" if record.best else ""
    age = format_age(now - record.created)
    lr = "" if record.lr is None else format_number(record.lr)
    host, preset, step = printable(record.host), printable(record.preset), f"{record.step:,}"
    name, done = printable(record.name), _progress(record)
    return record.status, name, done, step, printable(best), age, host, preset, lr


def _progress(record: RunRecord) -> str:
    """`12/60 20%`: epochs, and the part of the run that is done where that is known."""
    epochs = f"/{record.total_epochs:,}" if record.total_epochs else ""
    done = record.progress
    return f"{record.epoch:,}{epochs}" + ("" if done is None else f" {format_percent(done):>4}")


def format_age(seconds: float) -> str:
    """A time span in its largest whole unit: 42s, 3m, 2h, 5d."""
    for size, unit in _AGE_UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(0, seconds))}s"
