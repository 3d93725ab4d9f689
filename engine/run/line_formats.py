"""The lines of metrics.jsonl, journal.jsonl and worker.log: how they are written, and read back as events."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.json_text import dump_json
from torchconsole.engine.protocol.points import MetricsPoint, NonFinite, Points, flag_nonfinite
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.jsonl import seq_of

_EVENTS: dict[str, type[ev.EvaluationCompleted | ev.EpochCompleted | ev.RunResumed]] = {
    "evaluation": ev.EvaluationCompleted,
    "epoch": ev.EpochCompleted,
    "resumed": ev.RunResumed,
}
"""The event of a line, by its kind. A line of kind `train` is a logged step."""

MAX_STEPS = 1000
"""Logged steps in one event when a file is read, which bounds the memory for a file of any length."""

RECORDED = (ev.MetricsLogged, ev.EvaluationCompleted, ev.EpochCompleted, ev.RunResumed, ev.CommandApplied)
"""Events that are read back from the lines."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")

_LOG_TIME = "%Y-%m-%dT%H:%M:%SZ"
_LOG_LEVELS: dict[str, ev.LogLevel] = {
    "DEBUG": "debug",
    "INFO": "info",
    "WARNING": "warning",
    "ERROR": "error",
}

FACTS = frozenset(
    {"seq", "step", "epoch", "time", "kind", "active_seconds", "seconds", "reason", "checkpoint", "nonfinite"}
)
"""Keys of a line that are not metrics."""

_JOURNALED = {"seq", "time", "step", "id", "by", "command", "detail", "result"}


def train_line(point: MetricsPoint, seq: int) -> bytes:
    """Format the line of a logged step. Non-finite metrics are null, with their names in `nonfinite`."""
    content = {
        "seq": seq,
        "step": point.step,
        "epoch": point.epoch,
        "time": point.time,
        "kind": "train",
        "active_seconds": point.active_seconds,
        **point.metrics,
    }
    if all(map(math.isfinite, point.metrics.values())):
        return to_json(content)
    return _line(content, flag_nonfinite(point.metrics)[1])


def event_line(event: ev.Event) -> bytes | None:
    """Format the line of an event; None if metrics.jsonl does not contain such events."""
    match event:
        case ev.EvaluationCompleted():
            own = {"kind": "evaluation", "seconds": event.seconds, "reason": event.reason, **event.metrics}
            flags: Mapping[str, NonFinite] = event.nonfinite
        case ev.EpochCompleted():
            own = {"kind": "epoch", "seconds": event.seconds, **event.metrics}
            flags = event.nonfinite
        case ev.RunResumed():
            more = event.model_dump(include={"rolled_back_from"}, exclude_none=True)
            own = {"kind": "resumed", "checkpoint": event.checkpoint, **more}
            flags = {}
        case _:
            return None
    facts = {"seq": event.seq, "step": event.step, "epoch": event.epoch, "time": event.time}
    return _line({**facts, **own}, flags)


def gap_line(state: RunState, count: int) -> bytes:
    """Format the line with the number of lines that are missing because they could not be written."""
    facts = {"seq": state.seq, "step": state.step, "epoch": state.epoch, "time": time.time()}
    return _line({**facts, "kind": "gap", "lines": count}, {})


def journal_line(event: ev.CommandApplied) -> bytes:
    """Format the line of a change."""
    return dump_json(event, _JOURNALED).encode()


def read_events(lines: Iterable[dict[str, Any]], split: int) -> Iterator[ev.Event]:
    """Yield the events of lines of metrics.jsonl; up to MAX_STEPS successive train lines make one event.

    No event spans the sequence number `split`. Lines of unknown kinds, and lines that are not of the form in
    which they are written here, are skipped: anybody may have written the file.
    """
    numbered = (line for line in lines if seq_of(line) >= 0)
    for (kind, _), group in groupby(numbered, key=lambda line: (line.get("kind"), line["seq"] > split)):
        if kind == "train":
            while steps := list(islice(group, MAX_STEPS)):
                yield from _logged(steps)
        elif event_type := _EVENTS.get(kind if isinstance(kind, str) else ""):
            for line in group:
                with suppress(ValidationError):
                    yield event_type.model_validate({**line, "metrics": _metrics(line)})


def read_changes(lines: Iterable[dict[str, Any]]) -> Iterator[ev.CommandApplied]:
    """Yield the changes of lines of journal.jsonl. Lines that are not of the form of a change are skipped."""
    for line in lines:
        with suppress(ValidationError):
            yield ev.CommandApplied.model_validate(line)


def log_line(time: float, level: ev.LogLevel, message: str) -> str:
    r"""Format a line of worker.log: `2026-11-29T07:51:01Z\tINFO\tmessage`, in UTC, without its newline.

    Each further line of the message begins with a tab.
    """
    stamp = datetime.fromtimestamp(time, UTC).strftime(_LOG_TIME)
    text = message.replace("\n", "\n\t")
    return f"{stamp}\t{level.upper()}\t{text}"


def read_log(lines: Iterable[str], time: float) -> Iterator[ev.LogWritten]:
    """Yield the messages of worker.log as events.

    A line of another form, for example of a traceback, is output of the training. It has the time of the line
    before it; the first has `time`.
    """
    logged: ev.LogWritten | None = None
    for line in lines:
        if logged is not None and line.startswith("\t"):
            logged = logged.model_copy(update={"message": f"{logged.message}\n{line[1:]}"})
            continue
        if logged is not None:
            yield logged
        logged = _log_written(line)
        if logged is None:
            yield ev.LogWritten(level="output", message=plain_text(line), time=time)
        else:
            time = logged.time
    if logged is not None:
        yield logged


def plain_text(line: str) -> str:
    """Return a printed line without the escape sequences that colour it, or set a terminal's title."""
    return _ESCAPES.sub("", line)


def printed_lines(lines: Iterable[str], *, after_logged: bool) -> tuple[list[str], bool]:
    """Return the lines that the training printed, without those that the worker logged.

    `after_logged`: whether the worker logged the line before; returned too, for the lines that follow.
    """
    printed = []
    for line in lines:
        after_logged = _log_written(line) is not None or (after_logged and line.startswith("\t"))
        if not after_logged:
            printed.append(line)
    return printed, after_logged


def _log_written(line: str) -> ev.LogWritten | None:
    time, _, rest = line.partition("\t")
    level, tab, message = rest.partition("\t")
    if not tab or level not in _LOG_LEVELS:
        return None
    try:
        written = datetime.strptime(time, _LOG_TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return ev.LogWritten(level=_LOG_LEVELS[level], message=message, time=written.timestamp())


def _line(content: dict[str, Any], flags: Mapping[str, NonFinite]) -> bytes:
    return to_json({**content, "nonfinite": flags} if flags else content, inf_nan_mode="null")


def _metrics(line: dict[str, Any]) -> dict[str, float | None]:
    return {name: value for name, value in line.items() if name not in FACTS}


def _logged(lines: list[dict[str, Any]]) -> Iterator[ev.MetricsLogged]:
    """Yield one event of train lines; none if no line is valid."""
    event = _metrics_logged(lines) or _metrics_logged([line for line in lines if _metrics_logged([line])])
    if event is not None:
        yield event


def _metrics_logged(lines: list[dict[str, Any]]) -> ev.MetricsLogged | None:
    """Return one event of train lines; None if one of them is not valid, or if there are none."""
    try:
        return _combined(lines)
    except (LookupError, TypeError, AttributeError, ValidationError):
        return None


def _combined(lines: list[dict[str, Any]]) -> ev.MetricsLogged:
    last = lines[-1]
    names = [name for name in dict.fromkeys(chain.from_iterable(lines)) if name not in FACTS]
    return ev.MetricsLogged(
        first_seq=lines[0]["seq"],
        seq=last["seq"],
        time=last["time"],
        step=last["step"],
        epoch=last["epoch"],
        active_seconds=last["active_seconds"],
        series={name: _column(name, lines) for name in names},
    )


def _column(name: str, lines: list[dict[str, Any]]) -> Points:
    """One metric at the steps that have it."""
    having = [line for line in lines if name in line]
    values = [line[name] for line in having]
    flags = {
        index: having[index].get("nonfinite", {}).get(name, "nan")
        for index, value in enumerate(values)
        if value is None
    }
    return Points(steps=[line["step"] for line in having], values=values, nonfinite=flags)
