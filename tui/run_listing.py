"""Lists of runs, as the menu and `torchconsole runs` show them: filtered, sorted, one run per line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from torchconsole.engine.run.record import EarlyStoppingDetail
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_metric, format_number, format_percent
from torchconsole.tui.table import align, shorten

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord

HEADINGS = ("STATUS", "RUN", "PROGRESS", "STEP", "BEST", "AGE", "HOST", "PRESET", "LR")
NUMBERS = (2, 3, 5, 8)
"""Indices of the columns that are aligned right."""

MOST_CELLS = 80
"""Width (cells) to which a text from a record is shortened: in a forged one it may have any length."""

MOST_PROBLEM = 1000
"""Width (cells) to which the description of a problem is shortened."""

MENU_NAME, MENU_TEXT = 60, 32
"""Width (cells) of the longest name of a run and of the longest other text in the menu."""

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


def menu_lines(records: Sequence[RunRecord], now: float) -> list[list[str]]:
    """Return the headings and the cells of each run, aligned; what cannot be read has a reason for cells."""
    rows = [run_cells(record, now)[:-1] for record in records]
    named = [
        (status, shorten(name, MENU_NAME, "middle"), *(shorten(cell, MENU_TEXT) for cell in rest))
        for status, name, *rest in rows
    ]
    heading, *lines = align([HEADINGS[:-1], *named], right=NUMBERS)
    return [
        heading,
        *(
            [line[0], line[1].rstrip(), problem(record)] if record.status in PROBLEMS else line
            for record, line in zip(records, lines, strict=True)
        ),
    ]


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


def matching(runs: Iterable[RunRecord], words: Sequence[str]) -> list[RunRecord]:
    """Return the runs that have each word in their name, preset, title, status or host, ignoring case."""
    wanted = [word.casefold() for word in words]
    return [run for run in runs if all(word in _searched_text(run) for word in wanted)]


def ordered(runs: Iterable[RunRecord], by: str) -> list[RunRecord]:
    """Sort runs by one of ORDERS. The sort is stable; runs that lack the value come last."""
    return sorted(runs, key=ORDERS[by])


def _searched_text(run: RunRecord) -> str:
    return "\n".join((run.name, run.preset, run.title, run.status, run.shown_status, run.host)).casefold()


def _best(run: RunRecord) -> tuple[Any, ...]:
    """Sort key: values of the same metric together, better ones first."""
    if not run.best:
        return (True,)
    early_stopping = run.detail("early_stopping", EarlyStoppingDetail)
    sign = -1 if early_stopping and early_stopping.get("mode") == "max" else 1
    return False, run.best["metric"], sign * run.best["value"]


ORDERS: dict[str, Callable[[RunRecord], Any]] = {
    "age": lambda run: (not run.is_live, -run.created, run.name),
    "name": lambda run: run.name,
    "status": lambda run: run.status,
    "preset": lambda run: run.preset,
    "progress": lambda run: (run.progress is None, -(run.progress or 0.0)),
    "best": _best,
    "host": lambda run: run.host,
}
"""Sort keys by name. `age` is the default: live runs first, then the newest."""
