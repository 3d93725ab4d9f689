"""Parts of a long metrics.jsonl: the lines between two steps, and when each part of a run took place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from torchconsole.engine.protocol.buckets import Rows
from torchconsole.engine.protocol.run_state import History, RunState, apply
from torchconsole.engine.run.jsonl import (
    LINE_BYTES,
    open_lines,
    parse_line,
    read_json_lines,
    seq_of,
    skip_line,
)
from torchconsole.engine.run.line_formats import read_events

_SPARE = 2
"""Samples beyond a window that are read, too: a resume between two may have made the first one void."""

SAMPLES = 400
"""Lines of a file, evenly spaced, that are read to find the others: a few milliseconds of work."""


@dataclass(frozen=True)
class Moment:
    """A logged step: its sequence number, the seconds of training before it, and its time."""

    seq: int
    step: int
    active_seconds: float
    time: float


def read_moments(path: Path, count: int = SAMPLES) -> list[Moment]:
    """Return logged steps, evenly spaced over the file, without those that a resume made void.

    Empty if there is no file. Raises OSError.
    """
    moments: list[Moment] = []
    for line in _sampled(path, count):
        moment = _moment(line)
        while moment and moments and moments[-1].step >= moment.step:
            moments.pop()
        if moment:
            moments.append(moment)
    return moments


def read_window(path: Path, first: float, last: float) -> dict[str, Rows]:
    """Return the history of each metric between two steps, from the lines of the file. Raises OSError."""
    moments = read_moments(path)
    before = [moment.seq for moment in moments if moment.step < first]
    after = [moment.seq for moment in moments if moment.step > last]
    history: History = {}
    state = RunState(name="", folder="")
    lines = read_json_lines(path, max(0, before[-1] - 1) if before else 0)
    if len(after) > _SPARE:
        lines = takewhile(lambda line: seq_of(line) <= after[_SPARE], lines)
    for event in read_events(lines, split=-1):
        apply(state, history, event)
    found = {}
    for name, series in history.items():
        rows = series.rows
        found[name] = rows.take((rows.steps >= first) & (rows.steps <= last))
    return found


def _sampled(path: Path, count: int) -> Iterator[dict[str, Any]]:
    try:
        file = open_lines(path)
    except FileNotFoundError:
        return
    with file:
        size = file.seek(0, os.SEEK_END)
        last = -1
        for number in range(count):
            file.seek(size * number // count)
            if number and not skip_line(file):
                return
            start = file.tell()
            if start > last and (line := parse_line(file.readline(LINE_BYTES))):
                yield line
            last = start


def _moment(line: dict[str, Any]) -> Moment | None:
    seq, step = seq_of(line), line.get("step")
    active, time = line.get("active_seconds"), line.get("time")
    numbers = (int, float)
    if seq < 0 or type(step) is not int or not isinstance(active, numbers) or not isinstance(time, numbers):
        return None
    return Moment(seq, step, float(active), float(time))
