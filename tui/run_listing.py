"""Lists of runs, as the menu and `torchconsole runs` show them: filtered, sorted, one run per line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_metric, format_number, format_percent
from torchconsole.tui.metric_direction import is_higher_better
from torchconsole.tui.table import shorten

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord

MENU_COLUMNS = (
    "tags", "status", "progress", "done", "trend", "metric", "best", "age", "preset", "epoch", "lr", "host",
)  # fmt: skip
"""Names of the columns of the menu's list of runs, after that of the runs' names."""

HEADINGS = ("STATUS", "RUN", "PROGRESS", "STEP", "BEST", "AGE", "HOST", "PRESET", "LR")
NUMBERS = (2, 3, 5, 8)
"""Indices of the columns that are aligned right."""

MOST_CELLS = 80
"""Width (cells) to which a text from a record is shortened: in a forged one it may have any length."""

MOST_PROBLEM = 1000
"""Width (cells) to which the description of a problem is shortened."""

PROBLEMS = ("unreadable", "unreachable", "deleting")
"""Statuses of a row that has a reason instead of figures."""

_AGE_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def run_cells(record: RunRecord, now: float) -> tuple[str, ...]:
    """Return a run's cells in the order of HEADINGS. `now` is in seconds since the epoch."""
    if record.status in PROBLEMS:
        return (record.status, printable(record.name), *[""] * (len(HEADINGS) - 2))
    best = f"{_text(record.best['metric'])} {format_metric(record.best['value'])}" if record.best else ""
    return (
        record.shown_status,
        printable(record.name),
        _progress(record),
        f"{record.step:,}",
        best,
        format_age(now - record.created),
        _text(record.host),
        _text(record.preset),
        "" if record.lr is None else format_number(record.lr),
    )


def problem(record: RunRecord) -> str:
    """Return why a run cannot be read, or what of it could not be written, in one line."""
    return _text(record.problem or record.reason, MOST_PROBLEM)


def _text(text: str, most: int = MOST_CELLS) -> str:
    return shorten(printable(text[:most]), most)


def _progress(record: RunRecord) -> str:
    """Return epochs and percentage, for example `12/60 20%`, as far as the totals are known."""
    epochs = f"/{record.total_epochs:,}" if record.total_epochs else ""
    done = record.progress
    return f"{record.epoch:,}{epochs}" + ("" if done is None else f" {format_percent(done):>4}")


def format_age(seconds: float) -> str:
    """Format a time span in its largest unit, rounded down: 42s, 3m, 2h, 5d."""
    for size, unit in _AGE_UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(0, seconds))}s"


def ordered(runs: Iterable[RunRecord], by: str, *, is_reversed: bool = False) -> list[RunRecord]:
    """Sort runs by one of ORDERS. The sort is stable; runs that lack the value come last, reversed or not."""
    key = ORDERS[by]
    known, unknown = [], []
    for run in runs:
        value = None if run.status in PROBLEMS else key(run)
        if value is None:
            unknown.append(run)
        else:
            known.append((value, run))
    known.sort(key=lambda pair: pair[0], reverse=is_reversed)
    return [*(run for _, run in known), *unknown]


def _best(run: RunRecord) -> Any:
    """Sort key: values of the same metric together, better ones first."""
    if not run.best:
        return None
    sign = -1 if is_higher_better(run, run.best["metric"]) else 1
    return run.best["metric"], sign * run.best["value"]


ORDERS: dict[str, Callable[[RunRecord], Any]] = {
    "age": lambda run: (not run.is_live, -run.created, run.name),
    "name": lambda run: run.name,
    "status": lambda run: run.status,
    "preset": lambda run: run.preset or None,
    "progress": lambda run: None if run.progress is None else -run.progress,
    "best": _best,
    "epoch": lambda run: -run.epoch,
    "lr": lambda run: None if run.lr is None else -run.lr,
    "tags": lambda run: run.tags or None,
    "host": lambda run: run.host or None,
}
"""Name of an order -> the sort key, None for a run without the value.

`age` is the default: live runs first, then the newest.
"""
